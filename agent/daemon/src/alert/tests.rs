use super::*;
use hokku_model::cron::Email;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};

fn message() -> Message {
    Message {
        id: "1".into(),
        app: "shop".into(),
        event: "failed".into(),
        entry: "nightly".into(),
        run: 7,
        status: "failed".into(),
        trigger: "schedule".into(),
        command: "rake nightly".into(),
        scheduled_at: None,
        started_at: None,
        ended_at: None,
        exit_code: Some(3),
        text: "nightly of shop failed".into(),
        output: vec!["no space left — Größe".into()],
    }
}

async fn door() -> (TcpListener, std::net::SocketAddr) {
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = door.local_addr().unwrap();
    (door, addr)
}

/// Answers one request with this status; gives the request.
async fn answers(door: TcpListener, status: &'static str) -> String {
    let (mut s, _) = door.accept().await.unwrap();
    let mut got = String::new();
    let mut buf = [0; 4096];
    while !got.ends_with('}') {
        let n = s.read(&mut buf).await.unwrap();
        got.push_str(std::str::from_utf8(&buf[..n]).unwrap());
    }
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    s.write_all(answer.as_bytes()).await.unwrap();
    got
}

#[tokio::test]
async fn a_webhook_gets_json_and_its_refusal_is_told_without_its_address() {
    let (one, addr) = door().await;
    let server = tokio::spawn(answers(one, "204 No Content"));
    webhook(&format!("http://{addr}/s3cret"), &message())
        .await
        .unwrap();
    let got = server.await.unwrap();
    let (head, body) = got.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /s3cret HTTP/1.1"), "{head}");
    let json: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (&json["event"], &json["run"]),
        (&"failed".into(), &7.into())
    );

    let (one, addr) = door().await;
    let server = tokio::spawn(answers(one, "500 Oh No"));
    let url = format!("http://{addr}/s3cret");
    let said = format!("{:#}", webhook(&url, &message()).await.unwrap_err());
    assert!(said.contains("500") && !said.contains("s3cret"), "{said}");
    server.await.unwrap();
    let said = format!("{:#}", webhook(&url, &message()).await.unwrap_err());
    assert!(!said.contains("s3cret"), "{said}");
}

/// Takes one mail as RFC 5321 says; gives all that was sent.
async fn takes_mail(door: TcpListener) -> String {
    let (s, _) = door.accept().await.unwrap();
    let (r, mut w) = s.into_split();
    let mut lines = BufReader::new(r).lines();
    let mut got = String::new();
    w.write_all(b"220 here\r\n").await.unwrap();
    let mut data = false;
    while let Some(line) = lines.next_line().await.unwrap() {
        got.push_str(&line);
        got.push('\n');
        let answer: &[u8] = match line.split(' ').next().unwrap_or_default() {
            "." if data => {
                data = false;
                b"250 taken\r\n"
            }
            _ if data => continue,
            "EHLO" => b"250-here\r\n250 8BITMIME\r\n",
            "DATA" => {
                data = true;
                b"354 go on\r\n"
            }
            "QUIT" => b"221 bye\r\n",
            _ => b"250 ok\r\n",
        };
        w.write_all(answer).await.unwrap();
        if line == "." {
            break;
        }
    }
    got
}

#[tokio::test]
async fn mail_arrives_whole() {
    let (door, addr) = door().await;
    let server = tokio::spawn(takes_mail(door));
    let email = Email {
        to: "ops@example.org".into(),
        from: "hokku <hokku@example.org>".into(),
        smtp: format!("smtp://{addr}"),
    };
    assert_eq!(check(None, Some(&email)), Ok(()));
    mail(&email, &message()).await.unwrap();
    let got = server.await.unwrap();
    for part in [
        "MAIL FROM:<hokku@example.org>",
        "RCPT TO:<ops@example.org>",
        "Subject: [shop] cron nightly failed",
        "nightly of shop failed",
        "Exit status: 3",
        "app cron:logs nightly -a shop",
    ] {
        assert!(got.contains(part), "{part}\n{got}");
    }
    let said = format!("{:#}", mail(&email, &message()).await.unwrap_err());
    assert!(said.contains("mail server"), "{said}");
}

#[test]
fn addresses_are_checked_and_their_secrets_not_repeated() {
    let email = |to: &str, smtp: &str| Email {
        to: to.into(),
        from: "a@b.org".into(),
        smtp: smtp.into(),
    };
    assert!(check(Some("https://h.example/x"), None).is_ok());
    for (hook, mail) in [
        (Some("ftp://s3cret"), None),
        (Some("s3cret"), None),
        (None, Some(email("s3cret", "smtp://h"))),
        (None, Some(email("a@b.org", "gopher://s3cret"))),
    ] {
        let said = check(hook, mail.as_ref()).unwrap_err();
        assert!(!said.contains("s3cret"), "{said}");
    }
    assert_eq!(host("https://u:p@h.example:8/x?y"), "h.example:8");
}
