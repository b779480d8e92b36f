//! Answers of an app, one after the other; the first byte says whether it was asked by HEAD.
#![no_main]
use hokku_router::fuzz::Side;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    if let Some((first, text)) = text.split_first() {
        let to_head = *first == b'H';
        hokku_fuzz::judge(Side::App { to_head }, text);
    }
});
