//! A cache inside of a program: entries with a time to live, and a limit of memory at which the
//! least used ones go.
//!
//!     cargo run --example cache

use std::error::Error;
use std::time::Duration;

use lodestore::{Client, Store};

/// Memory is counted, and `maxmemory` works, with this allocator only.
#[global_allocator]
static ALLOCATOR: lodestore::Jemalloc = lodestore::Jemalloc;

/// Room beyond what the program uses already, in bytes.
const ROOM_BYTES: u64 = 8 * 1024 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let store = Store::options()
        .set("maxmemory", "1gb")
        .set("maxmemory-policy", "allkeys-lru")
        .open()?;
    let mut client = store.client();
    println!("{}", page(&mut client, "/start")?);
    println!("{}", page(&mut client, "/start")?);
    println!("kept for {:?} more", client.ttl("page:/start")?);

    let limit = (store.used_memory() + ROOM_BYTES).to_string();
    client.call(&["CONFIG", "SET", "maxmemory", &limit])?;
    for number in 0..20_000 {
        client.set(format!("page:/{number}"), [b'x'; 1024])?;
    }
    println!("{} of 20000 pages fit", client.len()?);
    Ok(())
}

/// A page from the cache, or made and kept for a minute.
fn page(client: &mut Client, path: &str) -> Result<String, lodestore::Error> {
    let key = format!("page:{path}");
    if let Some(page) = client.get(&key)? {
        return Ok(format!(
            "{} (from the cache)",
            String::from_utf8_lossy(&page)
        ));
    }
    let page = format!("the page {path}");
    client.set_for(&key, &page, Duration::from_secs(60))?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs() {
        main().expect("the example");
    }
}
