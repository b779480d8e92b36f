use super::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA06vji6qen9dmt5aIyztp+6Qd4sT7H9wQfI7y2V29M6 me@example.org on my laptop";
const TWO: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBBmRGOMD0WYk5Q/l8m/hiW/VOr6M1VnJALjPIMdCkZWVU2m4c0oRiJdZNR7pwkAvSA/Ou4fiDMNbHat8vrMkoPY= me@example.org on my laptop";

#[tokio::test]
async fn keys_are_kept_and_written_out() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("authorized_keys");
    std::fs::write(&file, "ssh-rsa AAAA mine\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let place = Place::with(|c| c.authorized_keys = Some(file.clone()));
    let ops = &place.ops;
    let one = ops.add_key("a@x.org", ONE).await.unwrap();
    let e = ops
        .add_key("b@x.org", &format!("{ONE} again"))
        .await
        .unwrap_err();
    assert!(matches!(e, OpsError::Conflict { .. }));
    assert_eq!(
        e.to_string(),
        "Fingerprint already exists. Please use unique SSH key."
    );
    let e = ops
        .add_key("b@x.org", "ssh-ed25519 nonsense")
        .await
        .unwrap_err();
    assert!(matches!(e, OpsError::Invalid { .. }));
    let two = ops.add_key("a@x.org", TWO).await.unwrap();

    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "ssh-rsa AAAA mine");
    let ours = lines.iter().find(|l| l.ends_with(ONE)).unwrap();
    assert!(ours.starts_with("command=\"/"), "{ours}");
    let socket = place.data().join("run/hokkud.sock");
    let command = format!(
        " ssh --socket {} --key {}\",restrict ssh-ed25519 ",
        socket.display(),
        one.id
    );
    assert!(ours.contains(&command), "{ours}");
    assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);

    assert_eq!(ops.find_key(two.id).await.unwrap().user, "a@x.org");
    let e = ops
        .remove_key("a@x.org", "me@example.org on my laptop")
        .await
        .unwrap_err();
    assert!(matches!(e, OpsError::Conflict { .. }), "{e:?}");
    for bad in ["", "none"] {
        let e = ops.remove_key("a@x.org", bad).await.unwrap_err();
        assert!(matches!(e, OpsError::NotFound { .. }), "{e:?}");
    }
    let e = ops
        .remove_key("b@x.org", &one.fingerprint)
        .await
        .unwrap_err();
    assert!(
        matches!(e, OpsError::NotFound { .. }),
        "not one's own: {e:?}"
    );
    ops.remove_key("a@x.org", &one.fingerprint).await.unwrap();
    assert!(!std::fs::read_to_string(&file).unwrap().contains(ONE));
    ops.add_key("b@x.org", ONE).await.unwrap();
    assert_eq!(ops.clear_keys("a@x.org").await.unwrap(), [two]);
    assert_eq!(ops.keys("b@x.org").await.unwrap().len(), 1);
    ops.clear_keys("b@x.org").await.unwrap();
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        "ssh-rsa AAAA mine\n"
    );
}

/// sshd reads the file as the user whose it is.
#[tokio::test]
async fn the_file_goes_to_the_owner_of_its_folder() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(home.path(), Some(54321), Some(54322)).unwrap();
    let file = home.path().join("authorized_keys");
    let place = Place::with(|c| c.authorized_keys = Some(file.clone()));
    place.ops.add_key("a@x.org", ONE).await.unwrap();
    let meta = std::fs::metadata(&file).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (54321, 54322));
}
