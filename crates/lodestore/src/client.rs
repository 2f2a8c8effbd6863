//! Commands as functions.

use std::sync::Arc;
use std::time::Duration;

use resp::Value;
use server::LocalClient;

use crate::error::{Error, checked};
use crate::running::Running;
use crate::transaction::Transaction;

/// The fields of a hash with their values.
pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// A client of a store in this process: each call runs one command on the calling thread.
///
/// Blocking commands answer as after their time-out, and SUBSCRIBE and MONITOR are refused: no
/// message reaches a client between two calls. [`crate::Store::connect`] is for those.
///
/// With `appendfsync always` a call returns when the change is on the disk.
pub struct Client {
    // Before the store: its end is that of a client.
    local: LocalClient,
    _store: Arc<Running>,
}

impl Client {
    pub(crate) fn new(store: Arc<Running>) -> Self {
        Self {
            local: LocalClient::new(store.server()),
            _store: store,
        }
    }

    /// Runs any command, its name first.
    ///
    /// # Errors
    /// The command's own error, or it was not run. See [`Error`].
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<Value, Error> {
        let args: Vec<&[u8]> = args.iter().map(AsRef::as_ref).collect();
        self.run(&args)
    }

    fn run(&mut self, args: &[&[u8]]) -> Result<Value, Error> {
        checked(self.local.call(args)?)
    }

    /// Runs commands as one: no client sees the state between them, and they are in the append-only
    /// file together or not at all. Returns their replies, each of which may be an error, and
    /// `None` when a key of [`Client::watch`] has changed: then nothing was done.
    ///
    /// # Errors
    /// A command was refused when it was queued (an unknown name, a wrong number of arguments), and
    /// nothing was done.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = lodestore::Store::in_memory()?;
    /// # let mut client = store.client();
    /// client.set("a", "10")?;
    /// let replies = client.transaction(|tx| {
    ///     tx.call(&["DECRBY", "a", "3"]).call(&["INCRBY", "b", "3"]);
    /// })?;
    /// assert_eq!(replies.map(|replies| replies.len()), Some(2));
    /// # Ok(())
    /// # }
    /// ```
    pub fn transaction(
        &mut self,
        fill: impl FnOnce(&mut Transaction),
    ) -> Result<Option<Vec<Value>>, Error> {
        let mut transaction = Transaction::default();
        fill(&mut transaction);
        self.run(&[b"MULTI"])?;
        let mut refused = None;
        for args in transaction.commands() {
            let args: Vec<&[u8]> = args.as_args().iter().collect();
            refused = self.run(&args).err();
            if refused.is_some() {
                break;
            }
        }
        if let Some(error) = refused {
            self.run(&[b"DISCARD"])?;
            return Err(error);
        }
        match self.run(&[b"EXEC"])? {
            Value::Null => Ok(None),
            Value::Array(replies) => Ok(Some(replies)),
            other => Err(Error::Type(other)),
        }
    }

    /// The next transaction of this client is given up when one of these keys changes before it.
    pub fn watch<K: AsRef<[u8]>>(&mut self, keys: &[K]) -> Result<(), Error> {
        self.with_many("WATCH", keys).and_then(nothing)
    }

    /// Works on another database from now on.
    pub fn select(&mut self, db: u32) -> Result<(), Error> {
        self.run(&[b"SELECT", number(db).as_bytes()])
            .and_then(nothing)
    }

    // ---- keys --------------------------------------------------------------------------------

    /// Removes keys. Returns how many there were.
    pub fn del<K: AsRef<[u8]>>(&mut self, keys: &[K]) -> Result<u64, Error> {
        self.with_many("DEL", keys).and_then(count)
    }

    /// Whether there is such a key.
    pub fn exists(&mut self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        self.run(&[b"EXISTS", key.as_ref()]).and_then(truth)
    }

    /// The key goes after this time, with millisecond precision. False when there is none.
    pub fn expire(&mut self, key: impl AsRef<[u8]>, after: Duration) -> Result<bool, Error> {
        self.run(&[b"PEXPIRE", key.as_ref(), millis(after).as_bytes()])
            .and_then(truth)
    }

    /// How long the key still lives; `None` for ever, or there is no such key.
    pub fn ttl(&mut self, key: impl AsRef<[u8]>) -> Result<Option<Duration>, Error> {
        let left = self.run(&[b"PTTL", key.as_ref()]).and_then(integer)?;
        Ok(u64::try_from(left).ok().map(Duration::from_millis))
    }

    /// How many keys the database has.
    pub fn len(&mut self) -> Result<u64, Error> {
        self.run(&[b"DBSIZE"]).and_then(count)
    }

    /// Whether the database has no keys.
    pub fn is_empty(&mut self) -> Result<bool, Error> {
        Ok(self.len()? == 0)
    }

    /// Removes all keys of the database.
    pub fn clear(&mut self) -> Result<(), Error> {
        self.run(&[b"FLUSHDB"]).and_then(nothing)
    }

    // ---- strings -----------------------------------------------------------------------------

    /// The value of a string.
    pub fn get(&mut self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, Error> {
        self.run(&[b"GET", key.as_ref()]).and_then(bytes)
    }

    /// Sets a string.
    pub fn set(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), Error> {
        self.run(&[b"SET", key.as_ref(), value.as_ref()])
            .and_then(nothing)
    }

    /// Sets a string that goes after this time, with millisecond precision.
    pub fn set_for(
        &mut self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        time: Duration,
    ) -> Result<(), Error> {
        let time = millis(time);
        self.run(&[b"SET", key.as_ref(), value.as_ref(), b"PX", time.as_bytes()])
            .and_then(nothing)
    }

    /// Sets a string where there is no such key. Returns whether it was set.
    pub fn set_new(
        &mut self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<bool, Error> {
        let reply = self.run(&[b"SET", key.as_ref(), value.as_ref(), b"NX"])?;
        Ok(!reply.is_null())
    }

    /// Adds to a number. Returns the sum.
    pub fn incr(&mut self, key: impl AsRef<[u8]>, by: i64) -> Result<i64, Error> {
        self.run(&[b"INCRBY", key.as_ref(), number(by).as_bytes()])
            .and_then(integer)
    }

    /// Appends to a string. Returns its length.
    pub fn append(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<u64, Error> {
        self.run(&[b"APPEND", key.as_ref(), value.as_ref()])
            .and_then(count)
    }

    /// The values of strings, `None` where there is no string.
    pub fn mget<K: AsRef<[u8]>>(&mut self, keys: &[K]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let replies = self.with_many("MGET", keys).and_then(elements)?;
        replies.into_iter().map(bytes).collect()
    }

    // ---- hashes ------------------------------------------------------------------------------

    /// Sets a field. Returns whether it is new.
    pub fn hset(
        &mut self,
        key: impl AsRef<[u8]>,
        field: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<bool, Error> {
        self.run(&[b"HSET", key.as_ref(), field.as_ref(), value.as_ref()])
            .and_then(truth)
    }

    /// The value of a field.
    pub fn hget(
        &mut self,
        key: impl AsRef<[u8]>,
        field: impl AsRef<[u8]>,
    ) -> Result<Option<Vec<u8>>, Error> {
        self.run(&[b"HGET", key.as_ref(), field.as_ref()])
            .and_then(bytes)
    }

    /// Removes a field. Returns whether there was one.
    pub fn hdel(&mut self, key: impl AsRef<[u8]>, field: impl AsRef<[u8]>) -> Result<bool, Error> {
        self.run(&[b"HDEL", key.as_ref(), field.as_ref()])
            .and_then(truth)
    }

    /// All fields with their values.
    pub fn hgetall(&mut self, key: impl AsRef<[u8]>) -> Result<Fields, Error> {
        match self.run(&[b"HGETALL", key.as_ref()])? {
            Value::Map(pairs) => pairs
                .into_iter()
                .map(|(field, value)| Ok((string(field)?, string(value)?)))
                .collect(),
            other => Err(Error::Type(other)),
        }
    }

    // ---- lists -------------------------------------------------------------------------------

    /// Puts an element in front of a list. Returns its length.
    pub fn lpush(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<u64, Error> {
        self.run(&[b"LPUSH", key.as_ref(), value.as_ref()])
            .and_then(count)
    }

    /// Puts an element behind a list. Returns its length.
    pub fn rpush(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<u64, Error> {
        self.run(&[b"RPUSH", key.as_ref(), value.as_ref()])
            .and_then(count)
    }

    /// Takes the first element.
    pub fn lpop(&mut self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, Error> {
        self.run(&[b"LPOP", key.as_ref()]).and_then(bytes)
    }

    /// Takes the last element.
    pub fn rpop(&mut self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, Error> {
        self.run(&[b"RPOP", key.as_ref()]).and_then(bytes)
    }

    /// The elements from one index to another, both included; negative ones count from the end.
    pub fn lrange(
        &mut self,
        key: impl AsRef<[u8]>,
        start: i64,
        stop: i64,
    ) -> Result<Vec<Vec<u8>>, Error> {
        self.range("LRANGE", key.as_ref(), start, stop)
    }

    // ---- sets --------------------------------------------------------------------------------

    /// Adds a member. Returns whether it is new.
    pub fn sadd(&mut self, key: impl AsRef<[u8]>, member: impl AsRef<[u8]>) -> Result<bool, Error> {
        self.run(&[b"SADD", key.as_ref(), member.as_ref()])
            .and_then(truth)
    }

    /// Removes a member. Returns whether there was one.
    pub fn srem(&mut self, key: impl AsRef<[u8]>, member: impl AsRef<[u8]>) -> Result<bool, Error> {
        self.run(&[b"SREM", key.as_ref(), member.as_ref()])
            .and_then(truth)
    }

    /// Whether the set has this member.
    pub fn sismember(
        &mut self,
        key: impl AsRef<[u8]>,
        member: impl AsRef<[u8]>,
    ) -> Result<bool, Error> {
        self.run(&[b"SISMEMBER", key.as_ref(), member.as_ref()])
            .and_then(truth)
    }

    /// All members, in no order.
    pub fn smembers(&mut self, key: impl AsRef<[u8]>) -> Result<Vec<Vec<u8>>, Error> {
        self.run(&[b"SMEMBERS", key.as_ref()]).and_then(strings)
    }

    // ---- sorted sets -------------------------------------------------------------------------

    /// Adds a member, or gives it another score. Returns whether it is new.
    pub fn zadd(
        &mut self,
        key: impl AsRef<[u8]>,
        member: impl AsRef<[u8]>,
        score: f64,
    ) -> Result<bool, Error> {
        let score = number(score);
        self.run(&[b"ZADD", key.as_ref(), score.as_bytes(), member.as_ref()])
            .and_then(truth)
    }

    /// The score of a member.
    pub fn zscore(
        &mut self,
        key: impl AsRef<[u8]>,
        member: impl AsRef<[u8]>,
    ) -> Result<Option<f64>, Error> {
        match self.run(&[b"ZSCORE", key.as_ref(), member.as_ref()])? {
            Value::Double(score) => Ok(Some(score)),
            Value::Null => Ok(None),
            other => Err(Error::Type(other)),
        }
    }

    /// The members from one rank to another, both included, the least score first.
    pub fn zrange(
        &mut self,
        key: impl AsRef<[u8]>,
        start: i64,
        stop: i64,
    ) -> Result<Vec<Vec<u8>>, Error> {
        self.range("ZRANGE", key.as_ref(), start, stop)
    }

    // ---- others ------------------------------------------------------------------------------

    /// Sends a message to a channel. Returns how many clients get it.
    pub fn publish(
        &mut self,
        channel: impl AsRef<[u8]>,
        message: impl AsRef<[u8]>,
    ) -> Result<u64, Error> {
        self.run(&[b"PUBLISH", channel.as_ref(), message.as_ref()])
            .and_then(count)
    }

    /// Runs a Lua script with these keys and arguments.
    pub fn eval<K: AsRef<[u8]>, A: AsRef<[u8]>>(
        &mut self,
        script: &str,
        keys: &[K],
        args: &[A],
    ) -> Result<Value, Error> {
        let keys_count = number(keys.len());
        let mut words: Vec<&[u8]> = vec![b"EVAL", script.as_bytes(), keys_count.as_bytes()];
        words.extend(keys.iter().map(AsRef::as_ref));
        words.extend(args.iter().map(AsRef::as_ref));
        self.run(&words)
    }

    fn with_many<K: AsRef<[u8]>>(&mut self, name: &str, keys: &[K]) -> Result<Value, Error> {
        let mut words = vec![name.as_bytes()];
        words.extend(keys.iter().map(AsRef::as_ref));
        self.run(&words)
    }

    fn range(
        &mut self,
        name: &str,
        key: &[u8],
        start: i64,
        stop: i64,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let (start, stop) = (number(start), number(stop));
        self.run(&[name.as_bytes(), key, start.as_bytes(), stop.as_bytes()])
            .and_then(strings)
    }
}

fn number(value: impl ToString) -> String {
    value.to_string()
}

fn millis(time: Duration) -> String {
    time.as_millis().to_string()
}

/// The reply is OK.
fn nothing(reply: Value) -> Result<(), Error> {
    match reply {
        Value::Simple(_) => Ok(()),
        other => Err(Error::Type(other)),
    }
}

fn integer(reply: Value) -> Result<i64, Error> {
    reply.as_integer().ok_or(Error::Type(reply))
}

fn count(reply: Value) -> Result<u64, Error> {
    let count = reply
        .as_integer()
        .and_then(|count| u64::try_from(count).ok());
    count.ok_or(Error::Type(reply))
}

fn truth(reply: Value) -> Result<bool, Error> {
    integer(reply).map(|value| value != 0)
}

fn bytes(reply: Value) -> Result<Option<Vec<u8>>, Error> {
    match reply {
        Value::Null => Ok(None),
        other => string(other).map(Some),
    }
}

fn string(reply: Value) -> Result<Vec<u8>, Error> {
    match reply {
        Value::Bulk(bytes) | Value::Simple(bytes) => Ok(bytes),
        other => Err(Error::Type(other)),
    }
}

fn elements(reply: Value) -> Result<Vec<Value>, Error> {
    match reply {
        Value::Array(elements) | Value::Set(elements) => Ok(elements),
        other => Err(Error::Type(other)),
    }
}

fn strings(reply: Value) -> Result<Vec<Vec<u8>>, Error> {
    elements(reply)?.into_iter().map(string).collect()
}
