//! Tests of the sources of a start and of CONFIG REWRITE.

mod file;
mod rewrite;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use engine::config::Config;

/// A directory of a test, gone at its end.
struct TestDir(PathBuf);

impl TestDir {
    fn new() -> TestDir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lodestore-config-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        TestDir(dir.canonicalize().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The value CONFIG GET answers.
fn value_of(config: &Config, name: &str) -> String {
    let answer = config.get(&[name.as_bytes()]);
    String::from_utf8(
        answer
            .into_iter()
            .next()
            .unwrap_or_else(|| panic!("no {name}"))
            .1,
    )
    .unwrap()
}

#[test]
fn facilities_have_the_numbers_of_the_system() {
    let facility = |word: &str| {
        let options = [("syslog-facility", word)];
        let config = super::with_options(&options).unwrap();
        config.int(engine::config::P::SyslogFacility)
    };
    assert_eq!(facility("user"), i64::from(libc::LOG_USER));
    assert_eq!(facility("local0"), i64::from(libc::LOG_LOCAL0));
    assert_eq!(facility("local7"), i64::from(libc::LOG_LOCAL7));
}
