//! Blocks with commands and their output.

/// A command with the lines that it has to print.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub command: String,
    pub output: Vec<String>,
}

/// The steps of a block. Lines in front of the first command are left out.
pub(super) fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(Step {
                command: command.to_owned(),
                output: Vec::new(),
            }),
            (None, Some(step)) => step.output.push(line.to_owned()),
            (None, None) => {}
        }
    }
    steps
}

/// Whether a command printed what the page shows. `...` stands for any text, and alone in a line
/// for any number of lines.
pub(super) fn agrees(expected: &[String], found: &[&str]) -> bool {
    match (expected.split_first(), found.split_first()) {
        (None, None) => true,
        (Some((any, rest)), _) if any == "..." => {
            (0..=found.len()).any(|skipped| agrees(rest, &found[skipped..]))
        }
        (Some((line, expected)), Some((text, found))) => {
            line_agrees(line, text) && agrees(expected, found)
        }
        _ => false,
    }
}

/// The same for one line.
fn line_agrees(expected: &str, found: &str) -> bool {
    let mut parts = expected.split("...");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = found.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn commands_and_their_output() {
        let found = steps("text\n$ a b\n1\n2\n$ c\n");
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].command.as_str(), &found[0].output),
            ("a b", &lines("1\n2"))
        );
        assert!(found[1].output.is_empty());
    }

    #[test]
    fn dots_stand_for_any_text() {
        assert!(agrees(&lines("a\n...\nd"), &["a", "b", "c", "d"]));
        assert!(agrees(&lines("a\n..."), &["a"]));
        assert!(!agrees(&lines("a\n...\nd"), &["a", "b", "c"]));
        assert!(!agrees(&lines("a"), &["a", "b"]));
        assert!(!agrees(&lines("a"), &[]));
        assert!(line_agrees("x:... y", "x:1 2 y"));
        assert!(line_agrees("a...b...c", "a1b2c"));
        assert!(!line_agrees("a...b...c", "a1c2"));
        assert!(!line_agrees("(integer) 5", "(integer) 50"));
    }
}
