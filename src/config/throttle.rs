//! How many clients may connect in a while.

/// How big the bucket is, and what is taken out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottleSettings {
    /// `connection_throttle_tokens`: how many clients may come at once; 0, the default, for any number
    pub tokens_max: u32,
    /// `connection_throttle_fill_time`: how long it takes, in ms, until `fill_count` more may come; 1 by default
    pub fill_ms: u32,
    /// `connection_throttle_fill_count`: 1 by default
    pub fill_count: u32,
    /// `connection_throttle_weight_enabled`: who goes on with a session takes less than who opens one, as the two weights
    /// say; false by default
    pub weighs: bool,
    /// `connection_throttle_global_session_weight`: 3 by default
    pub new_weight: u32,
    /// `connection_throttle_renew_session_weight`: 2 by default
    pub renew_weight: u32,
}

impl Default for ThrottleSettings {
    fn default() -> ThrottleSettings {
        ThrottleSettings {
            tokens_max: 0,
            fill_ms: 1,
            fill_count: 1,
            weighs: false,
            new_weight: 3,
            renew_weight: 2,
        }
    }
}
