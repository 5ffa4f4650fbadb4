//! Measures the router.
fn main() {}
