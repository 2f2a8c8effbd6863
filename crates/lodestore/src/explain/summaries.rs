//! One line about each parameter, in sections: for `lodestore config`, man pages, the table in docs
//! and the commented configuration file. They stand in `summaries.txt`; a test compares the names
//! with the table of parameters.

/// Parameters of one subject.
pub(super) struct Section {
    pub(super) title: &'static str,
    /// Names with what the parameter is for.
    pub(super) parameters: Vec<(&'static str, &'static str)>,
}

/// `# title` begins a section, and `name: text` is a parameter of it.
const TEXT: &str = include_str!("summaries.txt");

/// What a parameter is for; nothing for one that CONFIG GET does not list.
pub(super) fn summary(name: &str) -> Option<&'static str> {
    let mut rows = TEXT.lines().filter_map(|line| line.split_once(": "));
    rows.find(|row| row.0 == name).map(|row| row.1)
}

/// All parameters that CONFIG GET lists, in the order of the table.
pub(super) fn sections() -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in TEXT.lines() {
        if let Some(title) = line.strip_prefix("# ") {
            sections.push(Section {
                title,
                parameters: Vec::new(),
            });
        } else if let (Some(row), Some(section)) = (line.split_once(": "), sections.last_mut()) {
            section.parameters.push(row);
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use engine::config::{Flags, PARAMETERS};

    use super::*;

    #[test]
    fn every_listed_parameter_has_its_line_in_the_order_of_the_table() {
        let listed = PARAMETERS.iter().filter(|it| !it.flags.has(Flags::HIDDEN));
        let listed: Vec<&str> = listed.map(|it| it.name).collect();
        let sections = sections();
        let rows = sections.iter().flat_map(|section| &section.parameters);
        let named: Vec<&str> = rows.map(|row| row.0).collect();
        assert_eq!(named, listed);
        assert_eq!(
            summary("threads-spread").map(|text| text.len() > 20),
            Some(true)
        );
        assert_eq!(summary("nosuch"), None);
    }
}
