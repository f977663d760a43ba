//! Numbers that look random and are the same for the same seed (splitmix64), so that a seed is enough to run a plan again.

/// A generator.
#[derive(Clone, Debug)]
pub struct Chance(u64);

// === impl Chance ===

impl Chance {
    /// The numbers of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 where that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next_number() % bound).unwrap_or(0)
    }

    /// One of `choices`; `None` where there is none.
    pub fn choose<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        choices.get(self.below(choices.len()))
    }
}

/// A place for `text` among others that is the same for the same seed whoever the others are: the first of many stays the first when one more comes.
#[must_use]
pub fn place(seed: u64, text: &str) -> u64 {
    text.bytes().fold(Chance::new(seed).next_number(), |sum, byte| Chance::new(sum ^ u64::from(byte)).next_number())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_another_seed_others() {
        let numbers = |seed| {
            let mut chance = Chance::new(seed);
            [chance.next_number(), chance.next_number(), chance.next_number()]
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
    }

    #[test]
    fn who_comes_first_does_not_hang_on_who_else_is_there() {
        let first = |seed, texts: &[&str]| texts.iter().min_by_key(|text| place(seed, text)).map(ToString::to_string);
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..20 {
            let of_three = first(seed, &["a", "b", "c"]);
            let of_four = first(seed, &["a", "b", "c", "d"]);
            assert!(of_four == of_three || of_four.as_deref() == Some("d"), "{of_three:?} {of_four:?}");
            seen.insert(of_four);
        }
        assert_eq!(seen.len(), 4, "each of them is the first for some seed");
    }
}
