//! Certificates and keys in files.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use pkcs8::{EncryptedPrivateKeyInfo, SecretDocument};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};

use crate::os::os_text;

/// The largest file with certificates, in bytes. All authorities of a system are a quarter of it.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Files of `tls-ca-cert-dir` that are read at most.
const DIRECTORY_FILES_MAX: usize = 1000;

/// The label of a key that is encrypted by a password.
const ENCRYPTED_KEY: &str = "ENCRYPTED PRIVATE KEY";

/// The header of a key that is encrypted in the old way, before PKCS #8.
const OLD_ENCRYPTION: &[u8] = b"Proc-Type: 4,ENCRYPTED";

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error| format!("{}: {}", path.display(), os_text(&error));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!(
            "{}: larger than {FILE_BYTES_MAX} bytes",
            path.display()
        ));
    }
    Ok(bytes)
}

/// The certificates of a PEM file, in order, at least one.
///
/// # Errors
/// The file and what is wrong with it.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| format!("{}: {error}", path.display()))?;
    if found.is_empty() {
        return Err(format!("{}: no certificate in it", path.display()));
    }
    Ok(found)
}

/// The certificates of all PEM files of a directory. Files without any are skipped, as OpenSSL
/// does.
///
/// # Errors
/// The directory cannot be read, or has too many files.
pub(super) fn certificates_in(dir: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut found = Vec::new();
    for path in files_in(dir)? {
        if let Ok(more) = certificates(&path) {
            // Names in such directories often are links to each other.
            found.extend(more);
        }
    }
    found.sort_by(|one, other| one.as_ref().cmp(other.as_ref()));
    found.dedup();
    Ok(found)
}

fn files_in(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error| format!("{}: {}", dir.display(), os_text(&error));
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_hidden || !path.is_file() {
            continue;
        }
        paths.push(path);
        if paths.len() > DIRECTORY_FILES_MAX {
            return Err(format!(
                "{}: more than {DIRECTORY_FILES_MAX} files",
                dir.display()
            ));
        }
    }
    paths.sort();
    Ok(paths)
}

/// The private key of a PEM file: PKCS #8, PKCS #1 or SEC 1, or PKCS #8 encrypted by `password`.
///
/// # Errors
/// The file and what is wrong with it. The password is not part of any text.
pub(super) fn private_key(path: &Path, password: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let failed = |reason: String| format!("{}: {reason}", path.display());
    let bytes = read(path)?;
    if memchr::memmem::find(&bytes, OLD_ENCRYPTION).is_some() {
        return Err(failed(
            "encrypted in the old form of OpenSSL, which is not supported: convert it with \
             'openssl pkcs8 -topk8'"
                .to_owned(),
        ));
    }
    let text = str::from_utf8(&bytes).map_err(|_| failed("not in PEM form".to_owned()))?;
    let Some(start) = text.find(&format!("-----BEGIN {ENCRYPTED_KEY}-----")) else {
        return PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| failed(error.to_string()));
    };
    if password.is_empty() {
        return Err(failed("encrypted, and no password is set".to_owned()));
    }
    let text = text.get(start..).unwrap_or_default();
    let (_, document) =
        SecretDocument::from_pem(text).map_err(|error| failed(error.to_string()))?;
    let encrypted = EncryptedPrivateKeyInfo::try_from(document.as_bytes())
        .map_err(|error| failed(error.to_string()))?;
    let key = encrypted
        .decrypt(password)
        .map_err(|error| failed(format!("decrypting: {error}")))?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

/// A hash of the contents of files, and of all files of directories; what cannot be read counts as
/// empty.
pub(super) fn fingerprint(paths: &[PathBuf]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let mut add = |path: &Path| {
        let bytes = read(path).unwrap_or_default();
        hasher.update(path.as_os_str().as_encoded_bytes());
        hasher.update([0]);
        hasher.update(bytes.len().to_le_bytes());
        hasher.update(bytes);
    };
    for path in paths {
        if path.is_dir() {
            let files = files_in(path).unwrap_or_default();
            files.iter().for_each(|file| add(file));
        } else {
            add(path);
        }
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An elliptic key, encrypted with the password 1234.
    const ENCRYPTED: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAhrNc7BF3jhqAICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEA1Kaqpq8U6MTemyQGLm+rIEgZCM
fIRc0a8oygBMbgg2zceao9JYsUSJDE2ngLeGJAxP2AVnQZ/NyZNY1FKrGkcrM0Ey
zHTZVFeWRg6CWX1LMA8DeMhzrBF9HSXppmick8Qa40Ony+WzFcDUY+ZIIjyY7gu0
91q1S8yQSiEpM3kuCtcSpUs5Kb8/1a+MP6npc2nnhkPv2Z1l6KNBsrAXzMc5/mQ=
-----END ENCRYPTED PRIVATE KEY-----
";

    #[test]
    fn an_encrypted_key_needs_its_password() {
        let path = std::env::temp_dir().join(format!("lodestore-key-{}", std::process::id()));
        std::fs::write(&path, ENCRYPTED).expect("a file");
        let refusal = |password: &[u8]| private_key(&path, password).expect_err("no key");
        assert!(refusal(b"").ends_with("encrypted, and no password is set"));
        let text = refusal(b"12345");
        assert!(
            text.contains("decrypting") && !text.contains("12345"),
            "{text}"
        );
        assert!(matches!(
            private_key(&path, b"1234"),
            Ok(PrivateKeyDer::Pkcs8(_))
        ));
        std::fs::write(&path, "Proc-Type: 4,ENCRYPTED\n").expect("a file");
        assert!(refusal(b"1234").contains("not supported"));
        std::fs::write(&path, "nothing").expect("a file");
        assert!(private_key(&path, b"").is_err());
        let before = fingerprint(std::slice::from_ref(&path));
        std::fs::remove_file(&path).expect("a file");
        assert_ne!(fingerprint(&[path]), before);
    }
}
