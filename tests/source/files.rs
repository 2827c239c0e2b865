//! The files of `src/`.

use std::fs;
use std::path::Path;

/// One file; its path is relative to `src/`, with `/` between.
pub(crate) struct SourceFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl SourceFile {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (path, text) = (path.to_owned(), text.to_owned());
        Self { path, text }
    }

    /// All files, sorted by path.
    pub(crate) fn all() -> Vec<Self> {
        let mut files = Vec::new();
        read_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut files);
        files.sort_by(|one, other| one.path.cmp(&other.path));
        for path in ["lib.rs", "key/mod.rs", "fence/protocol.rs", "middleware/mod.rs"] {
            assert!(files.iter().any(|file| file.path == path), "src/{path} was not read");
        }
        files
    }

    /// `store/sqlite/read.rs` is the module `store::sqlite::read`; `store/mod.rs` is `store`; `lib.rs` is the root.
    pub(crate) fn module(&self) -> Vec<String> {
        let names = self.path.trim_end_matches(".rs").split('/').map(str::to_owned);
        let mut names: Vec<String> = names.collect();
        if names.last().is_some_and(|name| name == "mod") || names == ["lib"] {
            names.pop();
        }
        names
    }
}

fn read_folder(folder: &Path, prefix: &str, files: &mut Vec<SourceFile>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            read_folder(&entry.path(), &format!("{path}/"), files);
        } else if path.ends_with(".rs") {
            files.push(SourceFile::new(&path, &fs::read_to_string(entry.path()).unwrap()));
        }
    }
}
