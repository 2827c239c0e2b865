//! Rules for secret scanners.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::Formats;
use crate::failure::Failure;
use crate::global::Global;
use crate::work::output;

/// Prints rules with which a secret scanner finds keys.
#[derive(Args, Debug)]
pub(crate) struct ScannerRules {
    /// The scanner
    #[arg(value_enum)]
    scanner: Scanner,
    #[command(flatten)]
    formats: Formats,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Scanner {
    /// A configuration of gitleaks (TOML)
    Gitleaks,
    /// Custom detectors of TruffleHog (YAML)
    Trufflehog,
    /// Custom patterns of GitHub's secret scanning
    Github,
}

/// A key format, as scanners know it.
struct Rule {
    name: String,
    regex: String,
    keyword: Option<String>,
}

impl ScannerRules {
    pub(crate) fn run(self, global: &Global) -> Result<(), Failure> {
        let output = output(global);
        let rules: Vec<Rule> = self
            .formats
            .list(global)?
            .iter()
            .enumerate()
            .filter_map(|(index, format)| {
                let prefix = format.prefix();
                Some(Rule {
                    name: match prefix {
                        "" => format!("api-key-{}", index + 1),
                        prefix => format!("{prefix}-api-key"),
                    },
                    regex: format.scanner_regex()?,
                    keyword: (!prefix.is_empty()).then(|| format!("{prefix}_")),
                })
            })
            .collect();
        if output.json {
            let rules: Vec<Value> = rules
                .iter()
                .map(|rule| json!({"name": rule.name, "regex": rule.regex, "keyword": rule.keyword}))
                .collect();
            return output.json(&json!({"rules": rules}));
        }
        let texts: Vec<String> = rules.iter().map(|rule| self.scanner.rule(rule)).collect();
        output.lines(&format!("{}{}", self.scanner.head(), texts.join("\n")))
    }
}

impl Scanner {
    fn head(self) -> &'static str {
        match self {
            Self::Gitleaks => "title = \"API keys\"\n\n[extend]\nuseDefault = true\n\n",
            Self::Trufflehog => "detectors:\n",
            Self::Github => "",
        }
    }

    fn rule(self, rule: &Rule) -> String {
        let Rule { name, regex, keyword } = rule;
        match self {
            Self::Gitleaks => {
                let keywords = keyword
                    .as_ref()
                    .map_or_else(String::new, |keyword| format!("keywords = [\"{keyword}\"]\n"));
                format!("[[rules]]\nid = \"{name}\"\ndescription = \"API key\"\nregex = '''{regex}'''\n{keywords}")
            }
            Self::Trufflehog => {
                // A detector without keywords is never run.
                let keyword = keyword.as_deref().unwrap_or("key");
                format!("  - name: {name}\n    keywords:\n      - {keyword}\n    regex:\n      key: '{regex}'")
            }
            // GitHub has patterns of its own for what is before and after a secret.
            Self::Github => {
                let format = regex.strip_prefix(r"\b").unwrap_or(regex);
                let format = format.strip_suffix(r"\b").unwrap_or(format);
                format!(
                    "Pattern name: {name}\nSecret format: {format}\nBefore secret: \\A|[^0-9A-Za-z_-]\nAfter secret: \\z|[^0-9A-Za-z_-]\n"
                )
            }
        }
    }
}
