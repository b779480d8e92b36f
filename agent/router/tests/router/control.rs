//! The control socket and the stored table.

use crate::rig::*;
use hokku_model::route::{AppState, RouteTable, RouterOrder, RouterReport};
use std::os::unix::fs::PermissionsExt;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

#[tokio::test]
async fn it_serves_from_the_stored_table_after_a_restart_without_an_agent() {
    let mut rig = Rig::new(short()).await;
    let d = saying("from the store").await;
    rig.running(&[(1, d.addr)]).await;
    rig.lose_agent();
    assert_eq!(
        rig.get("/").await.body(),
        "from the store",
        "the agent is gone"
    );
    rig.stop().await;
    let again = hokku_router::start(config(rig.dir.path(), short())).unwrap();
    rig.addr = again.listen()[0];
    assert_eq!(rig.get("/").await.body(), "from the store");
    assert_eq!(
        rig.connect_agent().await,
        1,
        "it tells which version it has"
    );
    let mode = std::fs::metadata(rig.dir.path().join("routes.json"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    tokio::task::spawn_blocking(|| again.stop()).await.unwrap();
}

#[tokio::test]
async fn older_tables_are_ignored_and_answered() {
    let mut rig = Rig::new(short()).await;
    let d = saying("v2").await;
    rig.table.version = 7;
    rig.running(&[(1, d.addr)]).await;
    for version in [0, 7, 8 - 1] {
        rig.order(RouterOrder::Table {
            table: RouteTable {
                version,
                ..Default::default()
            },
        })
        .await;
        assert_eq!(rig.report().await, RouterReport::Applied { version: 8 });
    }
    assert_eq!(rig.get("/").await.body(), "v2");
}

#[tokio::test]
async fn garbage_is_survived() {
    let mut rig = Rig::new(short()).await;
    let d = saying("fine").await;
    rig.running(&[(1, d.addr)]).await;
    let mode = std::fs::metadata(rig.socket())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    for garbage in [
        &b"\n\n{}\n[]\nnull\n{\"do\":\"explode\"}\n"[..],
        b"{\"do\":\"drain\",\"dyno\":\"not an id\",\"deadline_ms\":5}\n",
        b"{\"do\":\"drain\",\"dyno\":\"00000000-0000-0000-0000-000000000001\",\"deadline_ms\":-1}\n",
        b"\xff\xfe\0\n",
        b"{\"do\":\"table\",\"table\":{\"version\":99",
    ] {
        let mut s = UnixStream::connect(rig.socket()).await.unwrap();
        s.write_all(garbage).await.unwrap();
        drop(s);
    }
    let version = rig.connect_agent().await;
    assert_eq!(version, 1);
    assert_eq!(rig.get("/").await.body(), "fine");
    // after garbage the same connection still takes orders
    let mut s = UnixStream::connect(rig.socket()).await.unwrap();
    let drain =
        "{\"do\":\"drain\",\"dyno\":\"00000000-0000-0000-0000-000000000005\",\"deadline_ms\":0}\n";
    s.write_all(format!("nonsense\n{drain}").as_bytes())
        .await
        .unwrap();
    let mut text = String::new();
    while !text.contains("drained") {
        let mut part = [0; 512];
        let n = tokio::time::timeout(PATIENCE, tokio::io::AsyncReadExt::read(&mut s, &mut part))
            .await
            .unwrap()
            .unwrap();
        assert!(n > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&part[..n]));
    }
    assert!(text.starts_with("{\"is\":\"hello\""), "{text}");
}

#[tokio::test]
async fn the_newest_agent_counts() {
    let mut rig = Rig::new(short()).await;
    let (mut old_to, mut old_from) = hokku_router::control_client::connect(&rig.socket())
        .await
        .unwrap();
    assert!(matches!(
        old_from.recv().await.unwrap(),
        Some(RouterReport::Hello { .. })
    ));
    rig.connect_agent().await;
    let closed = tokio::time::timeout(PATIENCE, old_from.recv())
        .await
        .unwrap();
    assert!(matches!(closed, Ok(None) | Err(_)), "{closed:?}");
    // what the old one still says is not obeyed
    let _ = old_to
        .send(&RouterOrder::Table {
            table: RouteTable {
                version: 50,
                ..Default::default()
            },
        })
        .await;
    rig.app(AppState::Blank, &[]).await;
}

#[tokio::test]
async fn a_second_router_on_the_same_socket_is_refused_and_a_stale_socket_is_not() {
    let mut rig = Rig::new(short()).await;
    let e = match hokku_router::start(config(rig.dir.path(), short())) {
        Ok(_) => panic!("two routers on one socket"),
        Err(e) => format!("{e:#}"),
    };
    assert!(e.contains("another router already answers at"), "{e}");
    rig.stop().await;
    let again = hokku_router::start(config(rig.dir.path(), short())).unwrap();
    tokio::task::spawn_blocking(|| again.stop()).await.unwrap();
    std::fs::remove_file(rig.socket()).unwrap();
    std::fs::write(rig.socket(), "precious").unwrap();
    assert!(hokku_router::start(config(rig.dir.path(), short())).is_err());
    assert_eq!(std::fs::read_to_string(rig.socket()).unwrap(), "precious");
}

#[tokio::test]
async fn a_log_folder_that_cannot_be_written_stops_no_request() {
    let mut rig = Rig::new(short()).await;
    let d = saying("served").await;
    rig.running(&[(1, d.addr)]).await;
    let logs = rig.dir.path().join("logs");
    std::fs::remove_dir_all(&logs).unwrap();
    std::fs::write(&logs, "a file where the folder was").unwrap();
    let mut c = rig.client().await;
    for _ in 0..100 {
        assert_eq!(
            c.ask("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.body(),
            "served"
        );
    }
    tokio::time::sleep(ms(300)).await;
    std::fs::remove_file(&logs).unwrap();
    std::fs::create_dir(&logs).unwrap();
    assert_eq!(rig.get("/after").await.body(), "served");
    rig.log_line(Some(APP), &["path=\"/after\""]).await;
    rig.log_line(
        Some(APP),
        &["Error L10 (output buffer overflow): ", " messages dropped."],
    )
    .await;
}
