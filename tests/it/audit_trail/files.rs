//! Files of anchors and exports: new, of the owner alone, and never through a link.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use tower_api_key::ExportFormat;

use super::*;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

async fn export(trail: &Trail<MemoryStore>, path: &Path) -> Result<u64, AuditError> {
    let all = AuditEvents::default();
    trail.alice().export_audit_file(all, ExportFormat::Csv, path).await
}

/// Makes both files; in a process of its own, with a mask that takes nothing away.
#[tokio::test]
#[ignore = "run by `files_are_of_the_owner_alone`"]
async fn child_makes_files() {
    let Ok(folder) = std::env::var("AUDIT_FILES_FOLDER") else {
        return;
    };
    let trail = Trail::in_memory().await;
    let acme = trail.acme().await;
    let anchors = Path::new(&folder).join("anchors");
    trail.keys.audit().anchor_file(&anchors).await.unwrap();
    let rename = |acme: &mut tower_api_key::key::Organization| acme.name.push('!');
    trail.alice().update_organization(acme, rename).await.unwrap();
    trail.keys.audit().anchor_file(&anchors).await.unwrap();
    export(&trail, &Path::new(&folder).join("export.csv")).await.unwrap();
}

#[test]
fn files_are_of_the_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let this = std::env::current_exe().unwrap();
    let test = "audit_trail::files::child_makes_files";
    let line = format!("umask 000 && exec {} {test} --exact --ignored", this.display());
    let made = Command::new("sh")
        .args(["-c", &line])
        .env("AUDIT_FILES_FOLDER", folder.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    for name in ["anchors", "export.csv"] {
        assert_eq!(mode(&folder.path().join(name)), 0o600, "{name}");
    }
    // Nothing is left of what was put in place.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[tokio::test]
async fn planted_link_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let trail = Trail::in_memory().await;
    trail.acme().await;
    for is_there in [true, false] {
        let target = folder.path().join(format!("target {is_there}"));
        if is_there {
            fs::write(&target, "precious").unwrap();
            set_mode(&target, 0o600);
        }
        let link = folder.path().join(format!("link {is_there}"));
        symlink(&target, &link).unwrap();
        let error = trail.keys.audit().anchor_file(&link).await.unwrap_err();
        assert_eq!(error.kind(), AuditErrorKind::File);
        assert_eq!(AuditAnchors::read(&link).unwrap_err().kind(), AuditErrorKind::File);
        assert_eq!(export(&trail, &link).await.unwrap_err().kind(), AuditErrorKind::File);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(
            fs::read_to_string(&target).ok(),
            is_there.then(|| "precious".to_owned())
        );
    }
}

#[tokio::test]
async fn file_that_is_open_to_others_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("anchors");
    let trail = Trail::in_memory().await;
    let acme = trail.acme().await;
    trail.keys.audit().anchor_file(&path).await.unwrap();
    let rename = |acme: &mut tower_api_key::key::Organization| acme.name.push('!');
    trail.alice().update_organization(acme, rename).await.unwrap();
    let before = fs::read(&path).unwrap();
    for open in [0o666, 0o644, 0o660, 0o602] {
        set_mode(&path, open);
        let error = trail.keys.audit().anchor_file(&path).await.unwrap_err();
        assert_eq!(error.kind(), AuditErrorKind::File);
        let text = std::error::Error::source(&error).unwrap().to_string();
        assert!(text.contains(&format!("{open:o}")), "{text}");
        assert_eq!(fs::read(&path).unwrap(), before);
    }
    set_mode(&path, 0o600);
    assert_eq!(trail.keys.audit().anchor_file(&path).await.unwrap(), 1);
    let anchors = AuditAnchors::read(&path).unwrap();
    assert_eq!(anchors.of(acme).unwrap().seq, 9);
    assert!(trail.verify(&anchors).await.is_ok());
    let missing = AuditAnchors::read(folder.path().join("none")).unwrap_err();
    assert_eq!(missing.kind(), AuditErrorKind::File);
}

#[tokio::test]
async fn anchors_that_are_none_are_refused_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("anchors");
    let trail = Trail::in_memory().await;
    trail.acme().await;
    trail.keys.audit().anchor_file(&path).await.unwrap();
    let text = fs::read_to_string(&path).unwrap();
    for wrong in [
        String::new(),
        text[..text.len() - 8].to_owned(),
        text.replace(" 8 ", " x "),
    ] {
        fs::write(&path, &wrong).unwrap();
        let error = trail.keys.audit().anchor_file(&path).await.unwrap_err();
        assert_eq!(error.kind(), AuditErrorKind::InvalidAnchors, "{wrong}");
        assert_eq!(fs::read_to_string(&path).unwrap(), wrong);
    }
}

#[tokio::test]
async fn export_never_writes_over_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.csv");
    let trail = Trail::in_memory().await;
    trail.acme().await;
    assert!(export(&trail, &path).await.unwrap() > 8);
    let before = fs::read(&path).unwrap();
    assert_eq!(export(&trail, &path).await.unwrap_err().kind(), AuditErrorKind::File);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn export_has_every_event_of_the_list_once() {
    let trail = Trail::in_memory().await;
    let acme = trail.acme().await;
    trail.acme().await;
    let caller = Caller::new(Actor::user("=cmd|' /C calc'!A0")).name("@SUM(1+1)");
    trail
        .keys
        .issuer()
        .acting_as(caller)
        .create_organization("+1")
        .await
        .unwrap();

    let export = async |list: AuditEvents, format| {
        let mut out = Vec::new();
        let exporter = trail.keys.issuer().acting_as(Actor::operator("exporter"));
        let events = exporter.export_audit(list, format, &mut out).await.unwrap();
        (events, String::from_utf8(out).unwrap())
    };
    let (events, text) = export(AuditEvents::of(acme).page(1), ExportFormat::JsonLines).await;
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // With the event that says who began to export it.
    assert_eq!((events, lines.len()), (9, 9));
    assert_eq!(lines[8]["action"], "audit.export_started");
    for (line, entry) in lines.iter().take(8).zip(trail.entries(acme).await) {
        assert_eq!(line["seq"], entry.seq);
        assert_eq!(line["action"], entry.event.action.as_str());
        assert_eq!(line["personal"]["address"], "192.0.2.7");
        assert_eq!(line["user"], serde_json::Value::Null);
    }
    assert_eq!(lines[7]["details"]["reason"], "lost");

    let (_, marked) = export(AuditEvents::default(), ExportFormat::Csv).await;
    let (_, plain) = export(AuditEvents::default(), ExportFormat::PlainCsv).await;
    assert!(
        marked.contains(",'=cmd|' /C calc'!A0,") && !marked.contains(",=cmd"),
        "{marked}"
    );
    assert!(plain.contains(",=cmd|' /C calc'!A0,"), "{plain}");
    assert!(marked.starts_with("organization,seq,at,commit,"));
}
