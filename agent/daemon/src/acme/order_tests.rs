//! The parts of an order that need no server.

use super::*;
use x509_parser::prelude::{FromDer, X509Certificate};

#[test]
fn a_proof_has_the_extension_and_the_name_alone() {
    let (chain, key) = proof_certificate("a.test", &[7; 32]).unwrap();
    assert!(KeyPair::from_pem(&key).is_ok());
    let der = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
    let (_, cert) = X509Certificate::from_der(&der).unwrap();
    let acme = cert
        .extensions()
        .iter()
        .find(|e| e.oid.to_id_string() == "1.3.6.1.5.5.7.1.31")
        .unwrap();
    assert!(acme.critical);
    // An OCTET STRING of 32 bytes.
    assert_eq!(acme.value, [&[4u8, 32][..], &[7; 32]].concat());
    let names = cert.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names.len(), 1);
}

#[test]
fn a_request_is_made_with_the_stored_key() {
    let key = KeyPair::generate().unwrap();
    assert!(!request("a.test", &key.serialize_pem()).unwrap().is_empty());
    assert!(request("a.test", "rubbish").is_err());
}

#[test]
fn trouble_on_the_way_keeps_an_order_and_a_refusal_ends_it() {
    let problem = |kind: &str, status| {
        let json = serde_json::json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": "d", "status": status });
        Error::Api(serde_json::from_value(json).unwrap())
    };
    for (e, keep) in [
        (problem("rateLimited", 429), true),
        (problem("serverInternal", 500), true),
        (problem("unauthorized", 403), false),
        (problem("malformed", 404), false),
        (Error::Timeout(None), true),
    ] {
        let failed = Failed::from(e);
        assert_eq!(failed.keep, keep, "{}", failed.reason);
    }
    let said = Failed::from(problem("dns", 400)).reason;
    assert_eq!(said, "the certificate authority says: d (dns)");
}
