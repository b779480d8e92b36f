//! Made-up names.
