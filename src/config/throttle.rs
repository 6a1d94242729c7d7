//! How many clients may connect in a while, and how many of their requests a server works on.

/// How big the bucket is, and what is taken out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottleSettings {
    /// `connection_throttle_tokens`: how many clients may come at once; 0, the default, for any number
    pub tokens_max: u32,
    /// `connection_throttle_fill_time`: how long it takes, in ms, until `fill_count` more may come; 1 by default
    pub fill_ms: u32,
    /// `connection_throttle_fill_count`: 1 by default
    pub fill_count: u32,
    /// `connection_throttle_weight_enabled`: who goes on with a session, or opens one that only this server knows, takes
    /// less than who opens one of the ensemble, as the weights say; false by default
    pub weighs: bool,
    /// `connection_throttle_global_session_weight`: 3 by default
    pub new_weight: u32,
    /// `connection_throttle_renew_session_weight`: 2 by default
    pub renew_weight: u32,
    /// `connection_throttle_local_session_weight`: 1 by default
    pub local_weight: u32,
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
            local_weight: 1,
        }
    }
}

/// How many requests a server works on at once, and what becomes of those that wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestThrottle {
    /// `request_throttle_max_requests`: requests for the leader that this server has on their way at once; those beyond
    /// wait in the order of coming. 0, the default, for any number
    pub requests_max: u32,
    /// `request_throttle_stall_time`: pause, in ms, after which one that waits is looked at again, whether it is stale; 0:
    /// not before its turn. 100 by default
    pub stall_ms: u32,
    /// `request_throttle_drop_stale`: a stale one ends its connection; true by default
    pub drops_stale: bool,
    /// `request_stale_latency_check`: it is stale if it came longer ago than the timeout of its session; false by default
    pub ages: bool,
    /// `throttled_op_wait_time`: who waited longer, in ms, is answered THROTTLEDOP; 0, the default, for as long as it takes
    pub wait_ms_max: u32,
    /// `largeRequestThreshold`: requests of more bytes count as large; `None`, the default, if none does
    pub large_over: Option<u32>,
    /// `largeRequestMaxBytes`: of these, all that the server has at once; one beyond ends its connection. 100 MiB by default
    pub large_bytes_max: u32,
}

impl Default for RequestThrottle {
    fn default() -> RequestThrottle {
        RequestThrottle {
            requests_max: 0,
            stall_ms: 100,
            drops_stale: true,
            ages: false,
            wait_ms_max: 0,
            large_over: None,
            large_bytes_max: 100 << 20,
        }
    }
}
