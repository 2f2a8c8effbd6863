//! Reading what the suite prints.

/// The results of the tests of one unit.
#[derive(Default, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) passed: usize,
    /// The name of each failed test with the first line of the complaint.
    pub(crate) failures: Vec<String>,
    /// Tests on our list, and blocks of tests whose tags do not fit the mode.
    pub(crate) skipped: usize,
    pub(crate) seconds: u64,
    /// Whether the suite reached the end of the unit.
    finished: bool,
    /// The last line announced a failure whose complaint stands on the next line.
    complaint_follows: bool,
}

impl Outcome {
    /// A unit that could not run at all, which counts as one failure.
    pub(crate) fn aborted(reason: String) -> Outcome {
        Outcome {
            failures: vec![reason],
            ..Outcome::default()
        }
    }

    /// Takes the next line of output into account.
    pub(crate) fn add(&mut self, line: &str) {
        let line = strip_colors(line);
        let entry = line
            .strip_prefix('[')
            .and_then(|line| line.split_once("]: "));
        let follows = std::mem::take(&mut self.complaint_follows);
        match entry {
            Some(("ok", _)) => self.passed += 1,
            Some(("skip" | "ignore", _)) => self.skipped += 1,
            Some(("err" | "exception" | "TIMEOUT", text)) => {
                self.failures.push(text.to_owned());
                self.complaint_follows = true;
            }
            Some((state, _)) if state.ends_with("done") => self.finished = true,
            Some(_) => {}
            None if follows && !line.trim().is_empty() => {
                if let Some(failure) = self.failures.last_mut() {
                    *failure = format!("{failure}: {}", line.trim());
                }
            }
            None => {}
        }
    }

    /// Notes what ended the run from outside, or that the suite gave up before the end of the unit.
    pub(crate) fn close(&mut self, ended_by: Option<String>) {
        if let Some(reason) = ended_by {
            self.failures.push(reason);
        } else if !self.finished && self.failures.is_empty() {
            self.failures
                .push("the suite ended before the end of the unit".to_owned());
        }
    }

    /// The counts in words.
    pub(crate) fn summary(&self) -> String {
        let (passed, failed, skipped) = (self.passed, self.failures.len(), self.skipped);
        format!(
            "{passed} passed, {failed} failed, {skipped} skipped, {} s",
            self.seconds
        )
    }
}

/// Removes the escape sequences of colours (ESC, brackets, digits, `m`).
fn strip_colors(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_counted() {
        let mut outcome = Outcome::default();
        let lines = [
            "[ready]: 4711",
            "[\u{1b}[1;32mok\u{1b}[0m]: SET and GET (1 ms)",
            "[skip]: not today",
            "[ignore]: a block: Tag: external:skip",
            "[err]: INCR in tests/unit/type/incr.tcl",
            "Expected '1' to equal '2'",
            "more of it",
            "[1/1 done]: unit/type/incr (0 seconds)",
        ];
        lines.iter().for_each(|line| outcome.add(line));
        outcome.close(None);
        assert_eq!((outcome.passed, outcome.skipped), (1, 2));
        assert_eq!(
            outcome.failures,
            ["INCR in tests/unit/type/incr.tcl: Expected '1' to equal '2'"]
        );
    }

    #[test]
    fn an_early_end_is_a_failure() {
        let mut outcome = Outcome::default();
        outcome.add("[ok]: one (1 ms)");
        outcome.close(None);
        assert_eq!(outcome.failures.len(), 1);
    }
}
