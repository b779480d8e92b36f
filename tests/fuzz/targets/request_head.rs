//! Requests of a client, one after the other.
#![no_main]
use hokku_router::fuzz::Side;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    hokku_fuzz::judge(Side::Client, text);
});
