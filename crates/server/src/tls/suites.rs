//! Protocol versions and cipher suites by the names that OpenSSL has for them.

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, SupportedCipherSuite, SupportedProtocolVersion};

/// The cipher suites of TLS 1.2 that there are, each with its name and the words that stand for it
/// in `tls-ciphers`. All exchange keys by ECDHE and encrypt with authentication.
const SUITES: [(&str, CipherSuite, &[&str]); 6] = [
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        &["aECDSA", "AES256", "AES", "AESGCM"],
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        &["aRSA", "AES256", "AES", "AESGCM"],
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        &["aECDSA", "CHACHA20"],
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        &["aRSA", "CHACHA20"],
    ),
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        &["aECDSA", "AES128", "AES", "AESGCM"],
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        &["aRSA", "AES128", "AES", "AESGCM"],
    ),
];

/// Words that stand for all of them.
const WORDS_FOR_ALL: [&str; 9] = [
    "ALL", "DEFAULT", "HIGH", "ECDHE", "kECDHE", "EECDH", "kEECDH", "ECDH", "TLSv1.2",
];

/// The cipher suites of TLS 1.3 that there are.
const SUITES_1_3: [(&str, CipherSuite); 3] = [
    (
        "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_AES_256_GCM_SHA384,
    ),
    (
        "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_128_GCM_SHA256,
    ),
];

/// The versions that `tls-protocols` names, in words that were checked; both when it is empty.
pub(super) fn versions(text: &str) -> Vec<&'static SupportedProtocolVersion> {
    let is_named = |name: &str| {
        let mut words = text.split_ascii_whitespace().peekable();
        words.peek().is_none() || words.any(|word| word.eq_ignore_ascii_case(name))
    };
    let known = [("TLSv1.3", &TLS13), ("TLSv1.2", &TLS12)];
    let named = known.iter().filter(|(name, _)| is_named(name));
    named.map(|(_, version)| *version).collect()
}

/// The cryptography with the suites that `tls-ciphers` and `tls-ciphersuites` choose, in their
/// order, and the names in `tls-ciphers` that stand for nothing here.
///
/// # Errors
/// A list that leaves no suite, or a suite of TLS 1.3 that there is not.
pub(super) fn provider(
    ciphers: &str,
    ciphersuites: &str,
) -> Result<(CryptoProvider, Vec<String>), String> {
    let (old, unknown) = suites_1_2(ciphers)?;
    let mut chosen = suites_1_3(ciphersuites)?;
    chosen.extend(old);
    let mut provider = aws_lc_rs::default_provider();
    let all = std::mem::take(&mut provider.cipher_suites);
    let by_name = |name: &CipherSuite| all.iter().find(|suite| suite.suite() == *name).copied();
    let suites: Vec<SupportedCipherSuite> = chosen.iter().filter_map(by_name).collect();
    provider.cipher_suites = suites;
    Ok((provider, unknown))
}

fn suites_1_3(text: &str) -> Result<Vec<CipherSuite>, String> {
    let names = text.split([':', ',', ' ']).filter(|name| !name.is_empty());
    let mut chosen = Vec::new();
    for name in names {
        let found = SUITES_1_3
            .iter()
            .find(|suite| suite.0.eq_ignore_ascii_case(name));
        let (_, suite) = found.ok_or_else(|| {
            let known: Vec<&str> = SUITES_1_3.iter().map(|suite| suite.0).collect();
            format!(
                "the cipher suite '{name}' of tls-ciphersuites is not supported; there are {}",
                known.join(", ")
            )
        })?;
        chosen.push(*suite);
    }
    Ok(match chosen.is_empty() {
        true => SUITES_1_3.iter().map(|suite| suite.1).collect(),
        false => chosen,
    })
}

/// Reads a list in the form of ciphers(1): words add suites, with `-` they remove them, with `!`
/// for good, with `+` they move them to the end; `+` between words means both.
fn suites_1_2(text: &str) -> Result<(Vec<CipherSuite>, Vec<String>), String> {
    let text = if text.trim().is_empty() {
        "DEFAULT"
    } else {
        text
    };
    let (mut chosen, mut banned) = (Vec::<usize>::new(), Vec::<usize>::new());
    let mut unknown = Vec::new();
    for token in text.split([':', ',', ';', ' ']) {
        if token.is_empty() || token.starts_with('@') {
            // Sorting by strength and levels of security: all suites are of the highest.
            continue;
        }
        let (sign, words) = match token.split_at_checked(1) {
            Some((sign @ ("-" | "!" | "+"), words)) => (sign, words),
            _ => ("", token),
        };
        let meant: Vec<usize> = (0..SUITES.len())
            .filter(|at| is_meant(*at, words))
            .collect();
        match sign {
            "-" => chosen.retain(|at| !meant.contains(at)),
            "!" => {
                chosen.retain(|at| !meant.contains(at));
                banned.extend(&meant);
            }
            "+" => {
                let moved: Vec<usize> = chosen
                    .iter()
                    .copied()
                    .filter(|at| meant.contains(at))
                    .collect();
                chosen.retain(|at| !meant.contains(at));
                chosen.extend(moved);
            }
            _ if meant.is_empty() => unknown.push(token.to_owned()),
            _ => {
                let new = meant.iter().filter(|at| !banned.contains(at));
                let new: Vec<usize> = new.copied().filter(|at| !chosen.contains(at)).collect();
                chosen.extend(new);
            }
        }
    }
    if chosen.is_empty() {
        let known: Vec<&str> = SUITES.iter().map(|suite| suite.0).collect();
        return Err(format!(
            "tls-ciphers leaves no cipher suite that is supported; there are {}",
            known.join(", ")
        ));
    }
    let chosen = chosen.iter().filter_map(|at| SUITES.get(*at));
    Ok((chosen.map(|suite| suite.1).collect(), unknown))
}

/// Whether the words, joined by `+`, all stand for a suite.
fn is_meant(at: usize, words: &str) -> bool {
    let Some((name, _, own)) = SUITES.get(at) else {
        return false;
    };
    words.split('+').all(|word| {
        word == *name
            || WORDS_FOR_ALL.contains(&word)
            || own.contains(&word)
            || (word == "ECDSA" && own.contains(&"aECDSA"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<&'static str> {
        let (chosen, _) = suites_1_2(text).expect("some suites");
        let name = |suite| SUITES.iter().find(|it| it.1 == suite).expect("a suite").0;
        chosen.into_iter().map(name).collect()
    }

    #[test]
    fn lists_are_read_as_openssl_does() {
        let all: Vec<&str> = SUITES.iter().map(|suite| suite.0).collect();
        assert_eq!(names(""), all);
        assert_eq!(names("DEFAULT:@SECLEVEL=2"), all);
        assert_eq!(names("DEFAULT:-AES128-SHA256"), all);
        assert_eq!(
            names("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384"),
            ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"]
        );
        assert_eq!(
            names("HIGH:!aECDSA:!AESGCM"),
            ["ECDHE-RSA-CHACHA20-POLY1305"]
        );
        assert_eq!(
            names("ECDHE+AES128:-aRSA:CHACHA20:+ECDSA"),
            [
                "ECDHE-RSA-CHACHA20-POLY1305",
                "ECDHE-ECDSA-AES128-GCM-SHA256",
                "ECDHE-ECDSA-CHACHA20-POLY1305"
            ]
        );
    }

    #[test]
    fn what_there_is_not_is_refused_or_named() {
        let error = suites_1_2("AES128-SHA256").expect_err("no suite");
        assert!(
            error.starts_with("tls-ciphers leaves no cipher suite"),
            "{error}"
        );
        assert!(suites_1_2("HIGH:!ECDHE").is_err());
        let (_, unknown) = suites_1_2("AES128-SHA:HIGH").expect("suites");
        assert_eq!(unknown, ["AES128-SHA"]);
        assert!(suites_1_3("TLS_AES_128_CCM_SHA256").is_err());
        assert_eq!(versions("tlsv1.2"), [&TLS12]);
        assert_eq!(versions("TLSv1.3  tlsv1.2"), [&TLS13, &TLS12]);
        assert_eq!(versions(" "), [&TLS13, &TLS12]);
        let (provider, _) = provider("", "TLS_AES_128_GCM_SHA256").expect("a provider");
        assert_eq!(provider.cipher_suites.len(), 7);
    }
}
