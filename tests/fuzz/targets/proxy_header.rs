//! A PROXY header: it is read alike however its bytes come, and what it tells is written back as it was.
#![no_main]
use hokku_router::fuzz::proxy_header;
use std::net::IpAddr;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let whole = proxy_header(text);
    let Ok(Some(found)) = whole else {
        // as long as it may become a header, no part of it is refused or taken
        if whole == Ok(None) {
            for n in 0..text.len() {
                assert_eq!(proxy_header(&text[..n]), Ok(None), "of {n} bytes");
            }
        }
        return;
    };
    assert!(found.length <= text.len());
    let header = &text[..found.length];
    assert_eq!(proxy_header(header), whole, "what follows it counts");
    for n in 0..found.length {
        assert_eq!(proxy_header(&header[..n]), Ok(None), "of {n} bytes");
    }
    if let Some((client, server)) = found.told {
        assert_eq!(client.is_ipv4(), server.is_ipv4());
        match header.strip_prefix(b"PROXY ") {
            Some(line) => {
                let line = std::str::from_utf8(line).expect("a line of ASCII");
                let ports = format!(" {} {}\r\n", client.port(), server.port());
                assert!(line.ends_with(&ports), "{line}");
            }
            None => {
                let octets = |ip: IpAddr| match ip {
                    IpAddr::V4(ip) => ip.octets().to_vec(),
                    IpAddr::V6(ip) => ip.octets().to_vec(),
                };
                let addresses = [octets(client.ip()), octets(server.ip())].concat();
                assert!(header[16..].starts_with(&addresses));
            }
        }
    }
});
