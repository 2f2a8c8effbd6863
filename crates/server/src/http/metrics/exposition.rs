//! The text format of Prometheus, version 0.0.4.

use std::fmt::{Display, Write};

/// What a metric is to Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It goes up and down.
    Gauge,
    /// It only grows, until the server starts anew or CONFIG RESETSTAT.
    Counter,
    /// Quantiles with a sum and a count.
    Summary,
    /// Cumulative buckets with a sum and a count.
    Histogram,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Summary => "summary",
            Self::Histogram => "histogram",
        }
    }
}

/// Labels of a sample: names and values.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// A page of metrics. The samples of one metric stand behind each other, under its name.
#[derive(Default)]
pub(super) struct Page {
    text: String,
}

impl Page {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
        }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// Begins a metric: its samples follow.
    pub(super) fn metric(&mut self, name: &str, kind: Kind, help: &str) {
        // Writing to a string does not fail.
        let _ = write!(
            self.text,
            "# HELP {name} {help}\n# TYPE {name} {}\n",
            kind.word()
        );
    }

    /// A sample with labels.
    pub(super) fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        self.text.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            self.text.push_str(label);
            self.text.push_str("=\"");
            self.push_escaped(text);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        // Writing to a string does not fail.
        let _ = writeln!(self.text, " {value}");
    }

    /// A metric with one sample.
    pub(super) fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.metric(name, kind, help);
        self.sample(name, &[], value);
    }

    fn push_escaped(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '\\' => self.text.push_str("\\\\"),
                '"' => self.text.push_str("\\\""),
                '\n' => self.text.push_str("\\n"),
                other => self.text.push(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_has_a_head_and_samples() {
        let mut page = Page::default();
        page.single("a", Kind::Gauge, "An a.", 1.5);
        page.metric("b_total", Kind::Counter, "Bs.");
        page.sample("b_total", &[("x", "q\"\\\n<"), ("y", "")], 7);
        assert_eq!(
            page.into_text(),
            "# HELP a An a.\n# TYPE a gauge\na 1.5\n# HELP b_total Bs.\n# TYPE b_total counter\n\
             b_total{x=\"q\\\"\\\\\\n<\",y=\"\"} 7\n"
        );
    }
}
