//! Heroku's error codes (Dev Center "Heroku Error Codes"), with the text of the log line and the HTTP status.

/// One code of the router's or the runtime's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// `H10`
    pub code: &'static str,
    /// The text after `desc=`.
    pub desc: &'static str,
    /// The status the client gets; 0 for runtime codes.
    pub status: u16,
}

macro_rules! codes {
    ($($name:ident $desc:literal $status:literal),+ $(,)?) => {$(
        #[doc = $desc]
        pub const $name: Code = Code { code: stringify!($name), desc: $desc, status: $status };
    )+};
}

codes! {
    H10 "App crashed" 503,
    H11 "Backlog too deep" 503,
    H12 "Request timeout" 503,
    H13 "Connection closed without response" 503,
    H14 "No web processes running" 503,
    H15 "Idle connection" 503,
    H17 "Poorly formatted HTTP response" 503,
    H18 "Server Request Interrupted" 503,
    H19 "Backend connection timeout" 503,
    H20 "App boot timeout" 503,
    H21 "Backend connection refused" 503,
    H25 "HTTP Restriction" 502,
    H26 "Request Error" 400,
    H27 "Client Request Interrupted" 499,
    H28 "Client Connection Idle" 499,
    H80 "Maintenance mode" 503,
    H81 "Blank app" 502,
    H99 "Platform error" 503,
    R10 "Boot timeout" 0,
    R12 "Exit timeout" 0,
    R14 "Memory quota exceeded" 0,
    R15 "Memory quota vastly exceeded" 0,
}
