use super::*;
use std::os::unix::fs::MetadataExt;

type Result<T = ()> = std::result::Result<T, StoreError>;

fn folder() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hokku.db");
    (dir, path)
}

async fn count(store: &Store) -> usize {
    let docs = store.read(|tx| tx.list::<u32>("n")).await.unwrap();
    docs.len()
}

#[tokio::test]
async fn documents_change_only_for_who_has_seen_the_last_change() {
    let (_dir, path) = folder();
    let store = Store::open(&path).unwrap();
    store.write(|tx| tx.insert("app", "a", &1)).await.unwrap();
    let twice = store.write(|tx| tx.insert("app", "a", &2)).await;
    assert!(matches!(twice, Err(StoreError::Stale { .. })), "{twice:?}");

    let seen = store.read(|tx| tx.get::<u32>("app", "a")).await.unwrap();
    let seen = seen.unwrap();
    for (value, ok) in [(5, true), (6, false)] {
        let done = store
            .write(|tx| {
                let mut doc = seen.clone();
                doc.body = value;
                tx.replace("app", &mut doc)
            })
            .await;
        assert_eq!(done.is_ok(), ok, "{done:?}");
    }
    let now = store.read(|tx| tx.get::<u32>("app", "a")).await.unwrap();
    assert_eq!(now.unwrap().body, 5);
    let none = store.read(|tx| tx.get::<u32>("app", "b")).await.unwrap();
    assert!(none.is_none());
}

#[tokio::test]
async fn history_is_kept_in_order_and_by_app() {
    let (_dir, path) = folder();
    let store = Store::open(&path).unwrap();
    store
        .write::<_, StoreError>(|tx| {
            for seq in 1..=3 {
                tx.append("r", "app1", seq, &format!("one{seq}"), &seq, Some(b"\0x"))?;
            }
            tx.append("r", "app10", 1, "ten1", &99, None)
        })
        .await
        .unwrap();
    store
        .read::<_, StoreError>(|tx| {
            let all = tx.entries::<u32>("r", "app1")?;
            assert_eq!(all.iter().map(|e| e.body).collect::<Vec<_>>(), [3, 2, 1]);
            assert_eq!(tx.last_seq("r", "app1")?, 3);
            assert_eq!(tx.last_seq("r", "app2")?, 0);
            let e = tx.entry_by_id::<u32>("r", "one2")?.unwrap();
            assert_eq!((e.app.as_str(), e.seq), ("app1", 2));
            assert_eq!(e.sealed.as_deref(), Some(&b"\0x"[..]));
            Ok(())
        })
        .await
        .unwrap();
    for (seq, id) in [(3, "new"), (4, "one3")] {
        let again = store
            .write(|tx| tx.append("r", "app1", seq, id, &0, None))
            .await;
        assert!(matches!(again, Err(StoreError::Stale { .. })), "{again:?}");
    }
    store.write(|tx| tx.forget("app1")).await.unwrap();
    let left = store.read(|tx| tx.entries::<u32>("r", "app10")).await;
    assert_eq!(left.unwrap().len(), 1);
}

#[tokio::test]
async fn a_claim_is_given_once() {
    let (_dir, path) = folder();
    let store = Store::open(&path).unwrap();
    let claim = |owner: &'static str| store.write(move |tx| tx.claim("name", "x", owner));
    assert!(claim("a").await.unwrap());
    assert!(!claim("b").await.unwrap());
    let owner = store.read(|tx| tx.owner("name", "x")).await.unwrap();
    assert_eq!(owner.as_deref(), Some("a"));
    store.write(|tx| tx.unclaim("name", "x")).await.unwrap();
    assert!(claim("b").await.unwrap());
}

#[tokio::test]
async fn what_fails_or_panics_leaves_no_trace_and_rings_no_bell() {
    let (_dir, path) = folder();
    let store = Store::open(&path).unwrap();
    store.write(|tx| tx.insert("n", "0", &0)).await.unwrap();
    let mut bell = store.bell();
    bell.mark_unchanged();
    let failed = store
        .write::<(), StoreError>(|tx| {
            tx.insert("n", "1", &1)?;
            tx.insert("n", "0", &1)
        })
        .await;
    assert!(failed.is_err());
    let other = store.clone();
    let panicked = tokio::spawn(async move {
        other
            .write::<(), StoreError>(|tx| {
                tx.insert("n", "2", &2)?;
                panic!("on purpose");
            })
            .await
    });
    assert!(panicked.await.unwrap_err().is_panic());
    store.write(|tx| tx.delete("n", "none")).await.unwrap();
    assert!(!bell.has_changed().unwrap());
    assert_eq!(count(&store).await, 1);
    store.write(|tx| tx.insert("n", "3", &3)).await.unwrap();
    assert!(bell.has_changed().unwrap());
}

#[tokio::test]
async fn a_writer_that_goes_away_leaves_no_open_transaction() {
    let (_dir, path) = folder();
    let store = Store::open(&path).unwrap();
    let held = store.inner.conn.lock().await;
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.write(|tx| tx.insert("n", "1", &1)).await }
    });
    tokio::task::yield_now().await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    drop(held);
    store.write(|tx| tx.insert("n", "2", &2)).await.unwrap();
    assert_eq!(count(&store).await, 1);
}

#[test]
fn generations_grow_over_restarts() {
    let (_dir, path) = folder();
    let store = Store::open(&path).unwrap();
    store
        .write_at_start::<_, StoreError>(|tx| tx.insert("n", "1", &1))
        .unwrap();
    let before = store.generation();
    assert!(before > 0);
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.generation(), before);
    store
        .write_at_start::<_, StoreError>(|tx| tx.insert("n", "2", &1))
        .unwrap();
    assert_eq!(store.generation(), before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn forty_writers_lose_no_change() {
    let (_dir, path) = folder();
    let store = Store::open(&path).unwrap();
    store.write(|tx| tx.insert("n", "sum", &0)).await.unwrap();
    let tasks: Vec<_> = (0..40)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                store
                    .write::<_, StoreError>(|tx| {
                        let mut doc = tx.get::<u32>("n", "sum")?.unwrap();
                        doc.body += 1;
                        tx.replace("n", &mut doc)
                    })
                    .await
            })
        })
        .collect();
    for t in tasks {
        t.await.unwrap().unwrap();
    }
    let sum = store.read(|tx| tx.get::<u32>("n", "sum")).await.unwrap();
    assert_eq!(sum.unwrap().body, 40);
}

#[test]
fn nobody_else_may_read_the_files() {
    let (dir, path) = folder();
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let store = Store::open(&path).unwrap();
    store
        .write_at_start::<_, StoreError>(|tx| tx.insert("n", "1", &1))
        .unwrap();
    let mut seen = 0;
    for f in std::fs::read_dir(dir.path()).unwrap() {
        let f = f.unwrap();
        let mode = f.metadata().unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", f.path());
        seen += 1;
    }
    assert!(seen >= 4, "database, -wal, -shm, lock: {seen}");
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let (_dir, path) = folder();
    drop(Store::open(&path).unwrap());
    let sql = Connection::open(&path).unwrap();
    sql.execute_batch("UPDATE ledger SET schema = 999").unwrap();
    drop(sql);
    let e = Store::open(&path).unwrap_err().to_string();
    assert!(e.contains("schema 999") && e.contains("newer"), "{e}");
    let sql = Connection::open(&path).unwrap();
    let schema: i64 = sql
        .query_row("SELECT schema FROM ledger", [], |r| r.get(0))
        .unwrap();
    assert_eq!(schema, 999);
}

#[test]
fn a_damaged_file_is_named() {
    let (_dir, path) = folder();
    std::fs::write(&path, "this is no database. ".repeat(500)).unwrap();
    let e = Store::open(&path).unwrap_err();
    assert!(matches!(e, StoreError::Damaged { .. }), "{e:?}");
    assert!(e.to_string().contains("hokku.db is damaged"), "{e}");
}

#[test]
fn a_missing_folder_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let e = Store::open(&dir.path().join("no/hokku.db")).unwrap_err();
    assert!(matches!(e, StoreError::File { .. }), "{e:?}");
}

#[tokio::test]
async fn a_body_from_elsewhere_is_named() {
    let (_dir, path) = folder();
    let store = Store::open(&path).unwrap();
    store.write(|tx| tx.insert("n", "1", &"x")).await.unwrap();
    let e = store.read(|tx| tx.get::<u32>("n", "1")).await.unwrap_err();
    assert!(
        e.to_string().contains("stored n \"1\" can't be read"),
        "{e}"
    );
}

#[tokio::test]
async fn a_lock_held_by_another_program_ends_in_words() {
    let (_dir, path) = folder();
    let store = Store::open(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let e = store.write(|tx| tx.insert("n", "1", &1)).await.unwrap_err();
    assert!(matches!(e, StoreError::Busy { .. }), "{e:?}");
    other.execute_batch("ROLLBACK").unwrap();
    store.write(|tx| tx.insert("n", "1", &1)).await.unwrap();
    assert_eq!(count(&store).await, 1);
}

#[test]
fn two_agents_on_one_folder_are_refused() {
    let (_dir, path) = folder();
    let _first = Store::open(&path).unwrap();
    let e = Store::open(&path).unwrap_err();
    assert!(matches!(e, StoreError::InUse { .. }), "{e:?}");
}

/// Fills until it is refused, then checks that everything before is there, nothing of the last, and that it goes on
/// when there is room again.
async fn fill(store: &Store, more_room: impl FnOnce()) -> Result {
    let big = "x".repeat(40_000);
    let mut done = 0;
    let refused = loop {
        assert!(done < 10_000, "it never got full");
        let (half, key) = (format!("half {done}"), format!("{done}"));
        let written = store
            .write::<_, StoreError>(|tx| {
                tx.insert("n", &half, &0)?;
                tx.insert("big", &key, &big)
            })
            .await;
        match written {
            Ok(()) => done += 1,
            Err(e) => break e,
        }
    };
    assert!(matches!(refused, StoreError::Full { .. }), "{refused:?}");
    assert!(refused.to_string().contains("the disk is full"));
    assert_eq!(count(store).await, done);
    more_room();
    store.write(|tx| tx.insert("n", "after", &0)).await?;
    assert_eq!(count(store).await, done + 1);
    Ok(())
}

#[tokio::test]
async fn a_full_database_changes_nothing() {
    let (_dir, path) = folder();
    let store = Store::open(&path).unwrap();
    let limit = async |pages: u32| {
        let conn = store.inner.conn.lock().await;
        conn.pragma_update(None, "max_page_count", pages).unwrap();
    };
    limit(100).await;
    let conn = store.clone();
    fill(&store, move || {
        let conn = conn.inner.conn.try_lock().unwrap();
        conn.pragma_update(None, "max_page_count", 1000).unwrap();
    })
    .await
    .unwrap();
}

/// On a small file system of its own, where the right to mount one is there.
#[tokio::test]
async fn a_full_disk_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let none = None::<&str>;
    let flags = nix::mount::MsFlags::empty();
    if nix::mount::mount(
        Some("tmpfs"),
        dir.path(),
        Some("tmpfs"),
        flags,
        Some("size=1m"),
    )
    .is_err()
    {
        eprintln!("skipped: no right to mount");
        return;
    }
    struct Mounted<'a>(&'a Path);
    impl Drop for Mounted<'_> {
        fn drop(&mut self) {
            let _ = nix::mount::umount2(self.0, nix::mount::MntFlags::MNT_DETACH);
        }
    }
    let _mounted = Mounted(dir.path());
    let path = dir.path().join("hokku.db");
    let store = Store::open(&path).unwrap();
    fill(&store, || {
        let again = nix::mount::MsFlags::MS_REMOUNT;
        nix::mount::mount(none, dir.path(), none, again, Some("size=4m")).unwrap();
    })
    .await
    .unwrap();
    drop(store);
    let store = Store::open(&path).unwrap();
    assert!(count(&store).await > 1);
}

mod sealing {
    use super::*;

    #[test]
    fn opens_only_in_its_place_with_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a.key"), dir.path().join("b.key"));
        let key = Keyring::create(&a).unwrap();
        let other = Keyring::create(&b).unwrap();
        let sealed = key.seal("app 1 release 2", b"secret").unwrap();
        let again = Keyring::load(&a).unwrap();
        assert_eq!(&*again.open("app 1 release 2", &sealed).unwrap(), b"secret");
        assert!(key.open("app 1 release 3", &sealed).is_err());
        assert!(key.open("app 2 release 2", &sealed).is_err());
        let e = other.open("app 1 release 2", &sealed).unwrap_err();
        assert!(e.to_string().contains("another key"), "{e}");
        for i in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[i] ^= 1;
            assert!(key.open("app 1 release 2", &bad).is_err(), "byte {i}");
            assert!(key.open("app 1 release 2", &sealed[..i]).is_err());
        }
        assert_ne!(sealed, key.seal("app 1 release 2", b"secret").unwrap());
    }

    #[test]
    fn a_key_is_made_once_and_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret.key");
        std::fs::write(path.with_extension("key.new"), "left by a crash").unwrap();
        Keyring::create(&path).unwrap();
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!((meta.mode() & 0o777, meta.len()), (0o600, 32));
        assert!(!path.with_extension("key.new").exists());
        assert!(Keyring::create(&path).is_err());

        for mode in [0o640, 0o604, 0o620, 0o660] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let e = format!("{:#}", Keyring::load(&path).err().unwrap());
            assert!(e.contains("chmod 600"), "{e}");
        }
        std::fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        Keyring::load(&path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, [0; 31]).unwrap();
        let e = format!("{:#}", Keyring::load(&path).err().unwrap());
        assert!(e.contains("31 bytes"), "{e}");
    }
}
