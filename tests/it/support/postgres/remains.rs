//! What would stay of a server that is killed.

use std::fs::read_to_string;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Kills a server that stands still when this process ends, because it would not follow the kernel's signal.
pub(super) fn guard(id: u32, data: &Path) -> Child {
    use std::os::unix::process::CommandExt as _;

    let script = r#"read -r _
        children=$(grep -l "^PPid:[[:space:]]*$1\$" /proc/[0-9]*/status 2>/dev/null | cut -d / -f 3)
        segment=$(sed -n '7s/.* //p' "$2/postmaster.pid")
        kill -KILL "$1" $children
        ipcrm --shmem-id "$segment""#;
    Command::new("sh")
        .args(["-c", script, "sh", &id.to_string()])
        .arg(data)
        // Nobody writes. The end of this process is the end of the input.
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap()
}

/// What a killed server leaves until a restart, and there are 4,096 such segments at most.
pub(super) fn remove_shared_memory(data: &Path) {
    let text = read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    if let Some(segment) = text
        .lines()
        .nth(6)
        .and_then(|line| line.split_ascii_whitespace().nth(1))
    {
        let _ = Command::new("ipcrm").args(["--shmem-id", segment]).output();
    }
}
