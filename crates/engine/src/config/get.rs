//! CONFIG GET.

use super::table::{Flags, PARAMETERS, Parameter};
use values::glob;

use super::Config;

impl Config {
    /// The parameters that match any of `patterns`, sorted by name, each once for each of its names
    /// that matched.
    ///
    /// A parameter asked for by its plain name is answered under the name as asked; hidden ones are
    /// answered only so.
    #[must_use]
    pub fn get(&self, patterns: &[&[u8]]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for pattern in patterns {
            let is_glob = pattern
                .iter()
                .any(|byte| matches!(byte, b'[' | b'*' | b'?'));
            if is_glob {
                self.get_matching(pattern, &mut found);
            } else if let Some(parameter) = Parameter::named(pattern) {
                self.push(pattern, parameter, &mut found);
            }
        }
        found.sort();
        found
    }

    fn get_matching(&self, pattern: &[u8], found: &mut Vec<(Vec<u8>, Vec<u8>)>) {
        for parameter in PARAMETERS
            .iter()
            .filter(|parameter| !parameter.flags.has(Flags::HIDDEN))
        {
            for name in [Some(parameter.name), parameter.alias]
                .into_iter()
                .flatten()
            {
                if glob::matches(pattern, name.as_bytes(), true) {
                    self.push(name.as_bytes(), parameter, found);
                }
            }
        }
    }

    fn push(&self, name: &[u8], parameter: &Parameter, found: &mut Vec<(Vec<u8>, Vec<u8>)>) {
        if !found
            .iter()
            .any(|(known, _)| known.eq_ignore_ascii_case(name))
        {
            found.push((name.to_vec(), self.value_text(parameter.id)));
        }
    }
}
