//! Draws from a seed: `SplitMix64` (Steele, Lea and Flood, *Fast Splittable Pseudorandom Number
//! Generators*, OOPSLA 2014, figure 17).

/// What becomes of each part of what was not synced.
#[derive(Debug)]
pub(super) struct Draws {
    seed: u64,
    state: u64,
    /// Of 8 parts as many are kept as they are. Drawn too, so that some seeds lose nearly all and
    /// others nearly nothing.
    kept: u64,
}

impl Draws {
    /// Begins with a seed: 0 loses all, [`u64::MAX`] nothing.
    pub(super) fn new(seed: u64) -> Self {
        let mut draws = Self { seed, state: seed, kept: 0 };
        draws.kept = draws.next() % 8;
        draws
    }

    /// Picks one of the versions from 0, the synced one, to `newest`.
    pub(super) fn version(&mut self, newest: usize) -> usize {
        match self.seed {
            0 => 0,
            u64::MAX => newest,
            _ => {
                let drawn = self.next();
                if drawn % 8 < self.kept {
                    return newest;
                }
                usize::try_from(drawn / 8 % (newest as u64 + 1)).unwrap_or(newest)
            }
        }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_splitmix64() {
        let mut draws = Draws { seed: 1, state: 1_234_567, kept: 0 };
        assert_eq!(draws.next(), 6_457_827_717_110_365_317);
        assert_eq!(draws.next(), 3_203_168_211_198_807_973);
    }
}
