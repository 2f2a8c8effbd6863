//! Accounts in a directory: transfers as transactions by several threads. The data outlives the
//! program.
//!
//!     cargo run --example accounts [DIRECTORY]

use std::error::Error;
use std::path::PathBuf;

use lodestore::{Client, Store};

const ACCOUNTS: [&str; 3] = ["account:ada", "account:bob", "account:eve"];
const START: i64 = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let given = std::env::args().nth(1).map(PathBuf::from);
    let dir = given.unwrap_or_else(|| std::env::temp_dir().join("lodestore-accounts"));
    run(&Store::open(&dir)?)?;
    println!("the accounts are in {}", dir.display());
    Ok(())
}

fn run(store: &Store) -> Result<(), Box<dyn Error>> {
    let mut client = store.client();
    for account in ACCOUNTS {
        client.set_new(account, START.to_string())?;
    }
    std::thread::scope(|scope| {
        for (from, to) in [(0, 1), (1, 2), (2, 0)] {
            let mut client = store.client();
            scope.spawn(move || {
                for _ in 0..100 {
                    // A transfer that finds too little is not made.
                    if let Err(error) = transfer(&mut client, ACCOUNTS[from], ACCOUNTS[to], 7) {
                        println!("{error}");
                    }
                }
            });
        }
    });
    let mut sum = 0;
    for account in ACCOUNTS {
        let balance = balance(&mut client, account)?;
        println!("{account}: {balance}");
        sum += balance;
    }
    // No client sees half of a transfer, and no crash leaves one.
    assert_eq!(sum, START * ACCOUNTS.len() as i64);
    Ok(())
}

/// Moves an amount when the account has so much: the balance is watched, and when another thread
/// changes it in between, the transfer is tried again.
fn transfer(
    client: &mut Client,
    from: &str,
    to: &str,
    amount: i64,
) -> Result<bool, lodestore::Error> {
    loop {
        client.watch(&[from])?;
        if balance(client, from)? < amount {
            client.call(&["UNWATCH"])?;
            return Ok(false);
        }
        let amount = amount.to_string();
        let done = client.transaction(|tx| {
            tx.call(&["DECRBY", from, &amount]);
            tx.call(&["INCRBY", to, &amount]);
        })?;
        if done.is_some() {
            return Ok(true);
        }
    }
}

fn balance(client: &mut Client, account: &str) -> Result<i64, lodestore::Error> {
    let text = client.get(account)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&text).parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs() {
        let name = format!("lodestore-accounts-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        for _ in 0..2 {
            let store = Store::open(&dir).expect("a store");
            run(&store).expect("the example");
        }
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
