//! The bounds of what is drawn.

use thiserror::Error;

/// The deepest nesting that can be asked for.
///
/// A stored document is at most 128 maps deep, and the record itself is the first of them.
pub const NESTING_MAX: u8 = 127;

/// How many records are drawn, and how large they may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub(super) records: u64,
    pub(super) nesting: u8,
    pub(super) fields_max: u64,
    pub(super) string_max: u64,
}

impl Shape {
    /// Makes a shape from the four bounds, which may come straight from a user.
    ///
    /// - `records`: number of records, at least 1
    /// - `nesting`: deepest nesting, from 0 (no map inside a record) to [`NESTING_MAX`]
    /// - `fields_max`: most fields of one map, at least 0 (all maps are empty)
    /// - `string_max`: most letters of a string, at least 1
    ///
    /// # Errors
    ///
    /// The first bound that is out of range, in the order of the parameters. Whether `fields_max`
    /// is above the number of names is checked by [`Records::new`](super::Records::new).
    ///
    /// # Examples
    ///
    /// ```
    /// use triekv::generator::{Shape, ShapeError};
    ///
    /// assert!(Shape::new(1_000, 2, 5, 4).is_ok());
    /// assert_eq!(Shape::new(1_000, -1, 5, 4), Err(ShapeError::NestingNegative));
    /// ```
    pub fn new(
        records: i64,
        nesting: i64,
        fields_max: i64,
        string_max: i64,
    ) -> Result<Self, ShapeError> {
        let at_least_one = |bound| u64::try_from(bound).ok().filter(|&bound| bound > 0);
        let records = at_least_one(records).ok_or(ShapeError::NoRecords)?;
        let nesting = u64::try_from(nesting).map_err(|_| ShapeError::NestingNegative)?;
        let fields_max = u64::try_from(fields_max).map_err(|_| ShapeError::FieldsNegative)?;
        let string_max = at_least_one(string_max).ok_or(ShapeError::StringsEmpty)?;
        let nesting = u8::try_from(nesting)
            .ok()
            .filter(|&nesting| nesting <= NESTING_MAX)
            .ok_or(ShapeError::NestingTooDeep { nesting })?;
        Ok(Self { records, nesting, fields_max, string_max })
    }
}

/// A bound that no record can be drawn in.
///
/// These messages are sentences, unlike those of other errors: they are part of the command line
/// of `createData`, and scripts compare them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// Less than one record.
    #[error("Number of lines should be greater than 0.")]
    NoRecords,
    /// A nesting below 0.
    #[error("Nesting should be greater equal to 0.")]
    NestingNegative,
    /// A nesting above [`NESTING_MAX`]: such records could not be stored.
    #[error(
        "Nesting should be lower equal to {NESTING_MAX}, it is {nesting}: deeper records cannot be stored."
    )]
    NestingTooDeep {
        /// What was asked for.
        nesting: u64,
    },
    /// Less than no fields a map.
    #[error("The maximum number of keys inside each value should be greater equal to 0.")]
    FieldsNegative,
    /// More fields a map than there are names to tell them apart.
    #[error(
        "The maximum number of keys inside each value is {fields_max}, but the key file has only \
         {names} names."
    )]
    TooFewNames {
        /// What was asked for.
        fields_max: u64,
        /// Number of names in the key file.
        names: usize,
    },
    /// Strings of less than one letter.
    #[error("The maximum length of a string should be greater than 0.")]
    StringsEmpty,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_is_accepted_at_its_limit_and_refused_one_past_it() {
        assert!(Shape::new(1, 0, 0, 1).is_ok());
        assert!(Shape::new(i64::MAX, 127, i64::MAX, i64::MAX).is_ok());
        assert_eq!(Shape::new(0, 0, 0, 1), Err(ShapeError::NoRecords));
        assert_eq!(Shape::new(i64::MIN, 0, 0, 1), Err(ShapeError::NoRecords));
        assert_eq!(Shape::new(1, -1, 0, 1), Err(ShapeError::NestingNegative));
        assert_eq!(Shape::new(1, 128, 0, 1), Err(ShapeError::NestingTooDeep { nesting: 128 }));
        assert_eq!(Shape::new(1, 256, 0, 1), Err(ShapeError::NestingTooDeep { nesting: 256 }));
        assert_eq!(Shape::new(1, 0, -1, 1), Err(ShapeError::FieldsNegative));
        assert_eq!(Shape::new(1, 0, 0, 0), Err(ShapeError::StringsEmpty));
        assert_eq!(Shape::new(1, 0, 0, -1), Err(ShapeError::StringsEmpty));
    }
}
