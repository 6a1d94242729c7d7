//! What survives a loss of power, of that which was not synced.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Asked once for every sector and every change of a name.
#[derive(Debug)]
pub struct Survivors(Kind);

#[derive(Debug)]
enum Kind {
    Same(bool),
    Some(Box<StdRng>),
}

impl Survivors {
    /// Nothing survives.
    pub fn nothing() -> Survivors {
        Survivors(Kind::Same(false))
    }

    /// All of it does, as if there had been time to write it.
    #[cfg(test)]
    pub fn everything() -> Survivors {
        Survivors(Kind::Same(true))
    }

    /// About half, drawn from a seed.
    pub fn some(seed: u64) -> Survivors {
        Survivors(Kind::Some(Box::new(StdRng::seed_from_u64(seed))))
    }

    /// True if the next one survives.
    pub fn keeps(&mut self) -> bool {
        match &mut self.0 {
            Kind::Same(keeps) => *keeps,
            Kind::Some(chance) => chance.random(),
        }
    }
}
