use std::collections::BTreeSet;

use super::*;
use crate::generator::NESTING_MAX;

const ALL_TYPES: &str = "name string\nage int\nheight float\nmember bool\ncity string\n";

fn records(key_file: &str, [count, nesting, fields, string]: [i64; 4], seed: u64) -> Records {
    let shape = Shape::new(count, nesting, fields, string).unwrap();
    Records::new(key_file.parse().unwrap(), shape, seed).unwrap()
}

fn text(records: Records) -> String {
    let mut out = Vec::new();
    records.write_to(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn names(count: usize) -> String {
    use std::fmt::Write;
    (0..count).fold(String::new(), |mut text, number| {
        writeln!(text, "f{number} int").unwrap();
        text
    })
}

/// What a record was found to hold.
#[derive(Debug, Default)]
struct Census {
    maps: Vec<usize>,
    depth: usize,
    nested: usize,
    strings: Vec<String>,
    ints: Vec<u64>,
    floats: Vec<String>,
    bools: Vec<bool>,
}

impl Census {
    fn of(line: &str) -> Self {
        let mut census = Self::default();
        let (_, map) = line.split_once(':').unwrap();
        let rest = census.map(map, 1);
        assert_eq!(rest, "", "text after the record");
        census
    }

    fn fields(&self) -> usize {
        self.maps.iter().sum()
    }

    fn map<'t>(&mut self, text: &'t str, depth: usize) -> &'t str {
        self.depth = self.depth.max(depth);
        let mut rest = text.strip_prefix(" { ").unwrap();
        let mut names = BTreeSet::new();
        while let Some(field) = rest.strip_prefix('"') {
            let (name, value) = field.split_once("\" : ").unwrap();
            assert!(names.insert(name), "{name} is there twice in one map");
            rest = self.value(value, depth);
            rest = rest.strip_prefix(" ; ").unwrap_or(rest);
        }
        self.maps.push(names.len());
        rest.strip_prefix(" } ").unwrap()
    }

    fn value<'t>(&mut self, text: &'t str, depth: usize) -> &'t str {
        if text.starts_with(" { ") {
            self.nested += 1;
            return self.map(text, depth + 1);
        }
        let (value, _) = text.split_once(' ').unwrap();
        if let Some(string) = value.strip_prefix('"') {
            self.strings.push(string.strip_suffix('"').unwrap().to_owned());
        } else if let Ok(bool) = value.parse::<bool>() {
            self.bools.push(bool);
        } else if let Ok(int) = value.parse::<u64>() {
            self.ints.push(int);
        } else {
            self.floats.push(value.to_owned());
        }
        &text[value.len()..]
    }
}

/// These bytes are a promise: data sets are named by their seeds.
#[test]
fn the_bytes_of_a_seed_never_change() {
    assert_eq!(text(records(ALL_TYPES, [6, 2, 4, 5], 2024)), GOLDEN);
}

const GOLDEN: &str = concat!(
    "\"person0\": {  } \n",
    "\"person1\": { \"name\" : \"oV\" ; \"member\" : true ; \"height\" : 3.64 } \n",
    "\"person2\": { \"height\" : 29.62 ; \"member\" : true } \n",
    "\"person3\": {  } \n",
    "\"person4\": { \"height\" : 83.112 ; \"city\" :  { \"age\" : 91 ; ",
    "\"member\" :  { \"member\" : true }  ; \"height\" : 5.562 }  ; ",
    "\"member\" :  { \"age\" : 189 ; \"member\" : true ; \"city\" : \"Z\" ; \"name\" : \"SBKtn\" }  } \n",
    "\"person5\": { \"height\" :  { \"member\" : true }  ; \"city\" : \"dWF\" ; \"age\" :  {  }  ; ",
    "\"name\" :  { \"city\" :  { \"member\" : false ; \"height\" : 46.27 ; \"city\" : \"ZEqeC\" }  ; ",
    "\"name\" : \"p\" ; \"age\" :  { \"name\" : \"pUWEx\" ; \"height\" : 83.665 }  ; ",
    "\"member\" : true }  } \n",
);

#[test]
fn the_same_seed_makes_the_same_bytes_and_another_seed_others() {
    let shape = [200, 2, 5, 6];
    let first = text(records(ALL_TYPES, shape, 42));
    assert_eq!(first, text(records(ALL_TYPES, shape, 42)));
    assert_ne!(first, text(records(ALL_TYPES, shape, 43)));
    assert_ne!(first, text(records(ALL_TYPES, shape, 42 + (1 << 63))));
}

#[test]
fn fewer_records_are_the_first_ones_of_more() {
    let more = text(records(ALL_TYPES, [100, 3, 5, 6], 1));
    assert!(more.starts_with(&text(records(ALL_TYPES, [10, 3, 5, 6], 1))));
}

#[test]
fn the_iterator_returns_the_lines_that_are_written() {
    let all = || records(ALL_TYPES, [50, 3, 5, 6], 1);
    assert_eq!(all().size_hint(), (50, Some(50)));
    let mut joined = String::new();
    for line in all() {
        joined += &line;
        joined += "\n";
    }
    assert_eq!(joined, text(all()));
}

#[test]
fn records_are_numbered_from_zero() {
    for (number, line) in records(ALL_TYPES, [1_000, 1, 3, 3], 5).enumerate() {
        assert!(line.starts_with(&format!("\"person{number}\": {{ ")), "{line}");
    }
}

#[test]
fn without_fields_every_record_is_an_empty_map() {
    assert_eq!(
        text(records(ALL_TYPES, [2, 9, 0, 1], 3)),
        "\"person0\": {  } \n\"person1\": {  } \n"
    );
}

#[test]
fn without_nesting_no_record_holds_a_map() {
    assert!(records(ALL_TYPES, [500, 0, 5, 3], 4).all(|line| Census::of(&line).depth == 1));
}

#[test]
fn every_nesting_up_to_the_bound_is_drawn_and_none_past_it() {
    let depths: BTreeSet<usize> =
        records(ALL_TYPES, [2_000, 3, 5, 1], 6).map(|line| Census::of(&line).depth).collect();
    assert!(depths.into_iter().eq(1..=4));
}

#[test]
fn numbers_of_fields_are_drawn_evenly_up_to_the_bound() {
    let mut counts = [0_u32; 6];
    for line in records(ALL_TYPES, [6_000, 0, 5, 1], 7) {
        counts[Census::of(&line).fields()] += 1;
    }
    assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
}

/// Half of the 20,000 records may nest; they have 2.5 fields on average, so 7,500 maps are due.
#[test]
fn three_fields_in_ten_are_maps_where_the_nesting_allows() {
    let census: Vec<Census> =
        records(ALL_TYPES, [20_000, 1, 5, 1], 8).map(|line| Census::of(&line)).collect();
    let nested: usize = census.iter().map(|record| record.nested).sum();
    assert!((7_100..7_900).contains(&nested), "{nested}");
}

#[test]
fn every_name_is_drawn_about_equally_often() {
    let all = text(records(&names(10), [10_000, 0, 3, 1], 9));
    for number in 0..10 {
        let count = all.matches(&format!("\"f{number}\"")).count();
        assert!((1_350..1_650).contains(&count), "f{number}: {count}");
    }
}

#[test]
fn values_reach_their_bounds_and_do_not_pass_them() {
    let mut all = Census::default();
    for line in records(ALL_TYPES, [20_000, 0, 5, 4], 10) {
        let census = Census::of(&line);
        all.strings.extend(census.strings);
        all.ints.extend(census.ints);
        all.floats.extend(census.floats);
        all.bools.extend(census.bools);
    }
    let lens: BTreeSet<usize> = all.strings.iter().map(String::len).collect();
    assert!(lens.into_iter().eq(1..=4));
    assert!(all.strings.iter().flat_map(|s| s.bytes()).all(|byte| byte.is_ascii_alphabetic()));
    assert_eq!((all.ints.iter().min(), all.ints.iter().max()), (Some(&0), Some(&1_000)));
    let trues = all.bools.iter().filter(|&&bool| bool).count();
    assert!((trues * 2).abs_diff(all.bools.len()) < all.bools.len() / 10);
    let floats: Vec<f64> = all.floats.iter().map(|float| float.parse().unwrap()).collect();
    assert!(floats.iter().all(|float| (0.0..=100.0).contains(float)));
    assert!(floats.iter().any(|&float| float < 1.0) && floats.iter().any(|&float| float > 99.0));
    for float in all.floats {
        let (_, places) = float.split_once('.').expect("a float has a point");
        assert!((1..=3).contains(&places.len()), "{float}");
    }
}

#[test]
fn strings_of_one_letter_and_of_many_pieces_are_drawn() {
    let shortest = records("s string", [100, 0, 1, 1], 11).map(|line| Census::of(&line));
    assert!(shortest.flat_map(|record| record.strings).all(|string| string.len() == 1));
    let longest = records("s string", [400, 0, 1, 1_000], 11).map(|line| Census::of(&line));
    let longest = longest.flat_map(|record| record.strings).map(|string| string.len()).max();
    assert!((980..=1_000).contains(&longest.unwrap()), "{longest:?}");
}

#[test]
fn as_many_fields_as_names_may_be_asked_for_but_not_one_more() {
    let shape = |fields| Shape::new(1, 0, fields, 1).unwrap();
    let key_file: KeyFile = ALL_TYPES.parse().unwrap();
    assert!(Records::new(key_file.clone(), shape(5), 0).is_ok());
    let error = Records::new(key_file, shape(6), 0).unwrap_err();
    assert_eq!(error, ShapeError::TooFewNames { fields_max: 6, names: 5 });
}

#[test]
fn the_largest_shapes_stay_within_the_bounds_of_a_record() {
    let nesting = i64::from(NESTING_MAX);
    // Wide maps use the fields up before they get deep.
    for (fields, deepest) in [(20, 100..=128), (1_000, 5..=128)] {
        let census: Vec<Census> =
            records(&names(1_000), [40, nesting, fields, 1], 12).map(|l| Census::of(&l)).collect();
        let fullest = census.iter().map(Census::fields).max().unwrap();
        assert_eq!(fullest, usize::try_from(FIELDS_MAX).unwrap());
        let depth = census.iter().map(|record| record.depth).max().unwrap();
        assert!(deepest.contains(&depth), "{depth}");
    }
}

#[test]
fn a_map_with_more_names_than_the_bound_is_cut_short() {
    let most = records(&names(12_000), [20, 0, 12_000, 1], 13)
        .map(|line| Census::of(&line).fields())
        .max();
    assert_eq!(most, Some(10_000));
}

#[test]
fn an_error_of_the_writer_is_returned() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error = records(ALL_TYPES, [1, 0, 1, 1], 0).write_to(&mut Full).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}
