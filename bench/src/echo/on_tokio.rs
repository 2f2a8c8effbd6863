//! The echo loop on Tokio, to keep the choice of an own event loop honest.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::push_replies;
use crate::replies::Counter;

/// Serves on the current-thread runtime until the process is killed.
pub(crate) fn serve(address: SocketAddr, reply: Vec<u8>) -> Result<()> {
    let reply: &'static [u8] = reply.leak();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async move {
        let listener = TcpListener::bind(address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            // The end of a connection, orderly or not, is the end of its task.
            drop(tokio::spawn(serve_connection(stream, reply)));
        }
    })
}

async fn serve_connection(mut stream: TcpStream, reply: &'static [u8]) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut requests = Counter::default();
    let mut input = vec![0; 64 << 10];
    let mut output = Vec::new();
    loop {
        let length = stream.read(&mut input).await?;
        if length == 0 {
            return Ok(());
        }
        push_replies(&mut output, reply, requests.feed(&input[..length])?);
        stream.write_all(&output).await?;
        output.clear();
    }
}
