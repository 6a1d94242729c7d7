//! What kinds of request a load is made of, and in which proportion.

use std::str::FromStr;

use rand::{Rng, RngExt};

/// A kind of request, as the command line and the report name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// reads the content of one of the keys
    Get,
    /// replaces the content of one of the keys
    Set,
    /// makes a znode of its own
    Create,
    /// removes the oldest znode that the connection has made, or makes one if there is none
    Delete,
    /// asks for one of the keys
    Exists,
    /// lists a znode with ten children
    Children,
    /// makes an ephemeral znode and removes it, by turns
    Ephemeral,
}

impl Kind {
    /// Every kind, in the order of the report; its place is its number.
    pub const ALL: [Kind; 7] =
        [Kind::Get, Kind::Set, Kind::Create, Kind::Delete, Kind::Exists, Kind::Children, Kind::Ephemeral];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Get => "get",
            Kind::Set => "set",
            Kind::Create => "create",
            Kind::Delete => "delete",
            Kind::Exists => "exists",
            Kind::Children => "children",
            Kind::Ephemeral => "ephemeral",
        }
    }

    /// True if it changes the tree.
    pub fn is_write(self) -> bool {
        matches!(self, Kind::Set | Kind::Create | Kind::Delete | Kind::Ephemeral)
    }
}

/// Kinds with weights: `get=9,set=1`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mix {
    /// As it was given.
    pub text: String,
    weights: Vec<(Kind, u32)>,
    total: u32,
}

impl Mix {
    /// One of the kinds, as often as its weight says.
    pub fn pick(&self, rng: &mut impl Rng) -> Kind {
        if let [(kind, _)] = self.weights[..] {
            return kind;
        }
        let mut left = rng.random_range(0..self.total);
        for &(kind, weight) in &self.weights {
            match left.checked_sub(weight) {
                Some(rest) => left = rest,
                None => return kind,
            }
        }
        unreachable!("the number drawn is below the sum of the weights");
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Mix, String> {
        let mut weights = Vec::new();
        let mut total = 0_u32;
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name.trim()).ok_or_else(|| {
                let names = Kind::ALL.map(Kind::name).join(", ");
                format!("{name:?} is not a kind of request; there are {names}")
            })?;
            let weight = weight.trim().parse().map_err(|_| format!("{weight:?} is not a weight"))?;
            total = total.checked_add(weight).ok_or("the weights are too large")?;
            if weight > 0 {
                weights.push((kind, weight));
            }
        }
        if total == 0 {
            return Err("all weights are 0".to_owned());
        }
        Ok(Mix { text: text.to_owned(), weights, total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn kinds_come_as_often_as_their_weights_say() {
        let mix: Mix = "get=3, set".parse().unwrap();
        let mut rng = StdRng::seed_from_u64(1);
        let gets = (0..4000).filter(|_| mix.pick(&mut rng) == Kind::Get).count();
        assert!((2800..3200).contains(&gets), "{gets}");
    }

    #[test]
    fn what_is_not_a_mix_is_refused_with_a_reason() {
        assert!("got=1".parse::<Mix>().unwrap_err().contains("get, set"));
        assert!("get=x".parse::<Mix>().is_err());
        assert!("get=0".parse::<Mix>().is_err());
        assert!("".parse::<Mix>().is_err());
    }
}
