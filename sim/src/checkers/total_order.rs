//! TotalOrder: every server delivers each transaction at the same place of the order.

use std::collections::BTreeMap;

use zabra::ids::{ServerId, Zxid};

use super::{Verdict, unless};

pub const NAME: &str = "TotalOrder";

#[derive(Default)]
pub struct TotalOrder {
    places: BTreeMap<Zxid, u64>,
    /// how many transactions are behind the state of each server
    reached: BTreeMap<ServerId, u64>,
}

impl TotalOrder {
    /// A server begins with the state at a zxid, or takes it over.
    pub fn begins(&mut self, server: ServerId, zxid: Zxid) -> Verdict {
        let place = if zxid == Zxid::ZERO { Some(0) } else { self.places.get(&zxid).copied() };
        self.reached.insert(server, place.unwrap_or_default());
        unless(place.is_some(), || format!("server {server} begins at {zxid}, which is in no order"))
    }

    /// A server delivers the next transaction.
    pub fn delivered(&mut self, server: ServerId, zxid: Zxid) -> Verdict {
        let reached = self.reached.entry(server).or_default();
        *reached += 1;
        let place = *self.places.entry(zxid).or_insert(*reached);
        unless(place == *reached, || {
            format!("{zxid} is number {reached} that server {server} delivers, and number {place} elsewhere")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_place_is_found() {
        let mut order = TotalOrder::default();
        for zxid in 1..4 {
            assert_eq!(order.delivered(ServerId(1), Zxid(zxid)), Ok(()));
        }
        assert_eq!(order.begins(ServerId(2), Zxid(2)), Ok(()));
        assert_eq!(order.delivered(ServerId(2), Zxid(3)), Ok(()));
        assert_eq!(order.begins(ServerId(3), Zxid(1)), Ok(()));
        order.delivered(ServerId(3), Zxid(3)).expect_err("2 is left out");
        order.begins(ServerId(4), Zxid(9)).expect_err("nobody was there");
    }
}
