//! A queue of jobs and messages about them: workers wait on connections inside of the program, and
//! other programs can look on through a port.
//!
//!     cargo run --example jobs

use std::error::Error;
use std::time::Duration;

use lodestore::{Store, Value};

const JOBS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let store = Store::options().port(0).open()?;
    if let Some(port) = store.port() {
        println!("redis-cli -p {port} MONITOR shows what happens");
    }
    let mut news = store.connect()?;
    news.subscribe(&["done"])?;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let store = store.clone();
            scope.spawn(move || {
                if let Err(error) = work(&store) {
                    println!("a worker failed: {error}");
                }
            });
        }
        let mut client = store.client();
        for number in 0..JOBS {
            client.rpush("jobs", format!("job {number}"))?;
        }
        for _ in 0..JOBS {
            let message = news.message(Duration::from_secs(30))?;
            let message = message.ok_or("no message in time")?;
            println!("done: {}", String::from_utf8_lossy(&message.payload));
        }
        Ok::<(), Box<dyn Error>>(())
    })?;
    Ok(())
}

/// Takes jobs until none has come for a while.
fn work(store: &Store) -> Result<(), lodestore::Error> {
    let mut waiting = store.connect()?;
    let mut client = store.client();
    while let Value::Array(popped) = waiting.call(&["BLPOP", "jobs", "0.5"])? {
        if let Some(job) = popped.get(1).and_then(Value::as_bytes) {
            client.publish("done", job)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs() {
        main().expect("the example");
    }
}
