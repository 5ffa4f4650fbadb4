use muster_bus::Event;
use muster_store::{Error, params};
use crate::fixture::Server;
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tmp"]
async fn zz_serve() {
    let server = Server::start().await;
    std::fs::write("/tmp/zz.addr", server.address.to_string()).unwrap();
    for i in 0..240_i64 {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let done = server.data.db().tx("zz", |tx| async move {
            let n = 2500 + i * 3;
            tx.execute("INSERT INTO logchunks (logid, first_line, last_line, content, compressed) VALUES (5313, ?, ?, ?, 0)", params![n, n + 2, format!("oline {n}\nemore\nolast {}", n+2).into_bytes()]).await?;
            tx.execute("UPDATE logs SET num_lines = ? WHERE id = 5313", params![n + 3]).await?;
            Ok::<_, Error>(vec![Event::new(["logs/5313/append".to_owned(), "steps/5313/logs/stdio/append".to_owned(), "builds/531/update".to_owned()], serde_json::json!({}))])
        }).await.unwrap();
        server.data.bus().publish(done);
    }
}
