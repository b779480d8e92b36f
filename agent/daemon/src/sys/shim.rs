//! (being laid)

/// A connection to a shim.
#[derive(Debug)]
pub struct ShimConn;
