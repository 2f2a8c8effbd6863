//! Places on the earth.

use super::harness::{Client, TestServer};

const SYNTAX: &str = "-ERR syntax error";
const NOT_FLOAT: &str = "-ERR value is not a valid float";
const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const BAD_UNIT: &str = "-ERR unsupported unit provided. please use M, KM, FT, MI";

/// Two towns of Sicily and two places west of it.
fn sicily(client: &mut Client) {
    client.check(&[(
        "GEOADD Sicily 13.361389 38.115556 Palermo 15.087269 37.502669 Catania 12.758489 38.788135 edge1 17.241510 38.788135 edge2",
        ":4",
    )]);
}

#[test]
fn adding() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        ("GEOADD k 13.361389 38.115556 a 15.087269 37.502669 b", ":2"),
        ("GEOADD k 13.361389 38.115556 a", ":0"),
        ("GEOADD k CH 13 38 a 1 1 c", ":2"),
        ("GEOADD k NX 5 5 a 5 5 d", ":1"),
        ("GEOADD k xx ch 6 6 a 6 6 e", ":1"),
        ("ZCARD k", ":4"),
        ("ZSCORE k b", "\"3479447370796909\""),
        ("GEOADD none XX 1 1 a", ":0"),
        ("EXISTS none", ":0"),
        ("TYPE k", "+zset"),
        (
            "GEOADD k 1 1",
            "-ERR wrong number of arguments for 'geoadd' command",
        ),
        ("GEOADD k 1 1 a 2", SYNTAX),
        ("GEOADD k NX XX 1 1 a", SYNTAX),
        ("GEOADD k NX CH ch", SYNTAX),
        ("GEOADD k GT 1 1 a", SYNTAX),
        ("GEOADD k GT 1 a", NOT_FLOAT),
        ("GEOADD k 1 x a", NOT_FLOAT),
        ("GEOADD k nan 1 a", NOT_FLOAT),
        (
            "GEOADD k 1 1 z 200 100 b",
            "-ERR invalid longitude,latitude pair 200.000000,100.000000",
        ),
        (
            "GEOADD k -inf 1 a",
            "-ERR invalid longitude,latitude pair -inf,1.000000",
        ),
        (
            "GEOADD k 0 85.0511288 a",
            "-ERR invalid longitude,latitude pair 0.000000,85.051129",
        ),
        (
            "GEOADD k 180 85.05112878 top -180 -85.05112878 bottom",
            ":2",
        ),
        ("ZSCORE k z", "nil"),
        ("SET string x", "+OK"),
        ("GEOADD string 1 1 a", WRONG_TYPE),
    ]);
}

#[test]
fn places_of_members() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    sicily(&mut client);
    client.check(&[
        ("GEODIST Sicily Palermo Catania", "\"166274.1516\""),
        ("GEODIST Sicily Palermo Catania km", "\"166.2742\""),
        ("GEODIST Sicily Palermo Catania MI", "\"103.3182\""),
        ("GEODIST Sicily Palermo Catania ft", "\"545518.8700\""),
        ("GEODIST Sicily Palermo Palermo", "\"0.0000\""),
        ("GEODIST Sicily Palermo nobody", "nil"),
        ("GEODIST none a b", "nil"),
        ("GEODIST Sicily Palermo Catania yd", BAD_UNIT),
        ("GEODIST none a b yd", BAD_UNIT),
        ("GEODIST Sicily a b m m", SYNTAX),
        (
            "GEOHASH Sicily Palermo nobody Catania",
            "[\"sqc8b49rny0\" nil \"sqdtr74hyu0\"]",
        ),
        ("GEOHASH none a", "[nil]"),
        ("GEOHASH Sicily", "[]"),
        (
            "GEOPOS Sicily Palermo nobody",
            "[[\"13.36138933897018433\" \"38.11555639549629859\"] nil-array]",
        ),
        ("GEOPOS none a b", "[nil-array nil-array]"),
        ("GEOPOS Sicily", "[]"),
        ("SET string x", "+OK"),
        ("GEODIST string a b", WRONG_TYPE),
        ("GEOHASH string a", WRONG_TYPE),
        ("GEOPOS string", WRONG_TYPE),
        // Scores that are none of places.
        ("ZADD odd -1 a inf b 1.5 c 4503599627370496 d", ":4"),
        (
            "GEOHASH odd a b c d",
            "[\"bp05b5048p0\" \"00bh0hbj200\" \"00bh0hbj210\" \"bp05b5048p0\"]",
        ),
    ]);
    let mut client = server.connect_resp3();
    client.check(&[
        (
            "GEOPOS Sicily Palermo nobody",
            "[[,13.361389338970184 ,38.1155563954963] null]",
        ),
        ("GEODIST Sicily Palermo Catania", "\"166274.1516\""),
        ("GEODIST Sicily Palermo nobody", "null"),
    ]);
}

#[test]
fn searching() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    sicily(&mut client);
    client.check(&[
        (
            "GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 200 km ASC",
            "[\"Catania\" \"Palermo\"]",
        ),
        (
            "GEOSEARCH Sicily FROMLONLAT 15 37 BYBOX 400 400 km ASC WITHCOORD WITHDIST",
            "[[\"Catania\" \"56.4413\" [\"15.08726745843887329\" \"37.50266842333162032\"]] \
              [\"Palermo\" \"190.4424\" [\"13.36138933897018433\" \"38.11555639549629859\"]] \
              [\"edge2\" \"279.7403\" [\"17.24151045083999634\" \"38.78813451624225195\"]] \
              [\"edge1\" \"279.7405\" [\"12.7584877610206604\" \"38.78813451624225195\"]]]",
        ),
        (
            "GEOSEARCH Sicily FROMMEMBER Palermo BYRADIUS 200 km DESC COUNT 2 WITHHASH",
            "[[\"Catania\" :3479447370796909] [\"edge1\" :3479273021651468]]",
        ),
        (
            "GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 200 km COUNT 1",
            "[\"Catania\"]",
        ),
        (
            "GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 200 km COUNT 1 ANY",
            "[\"Palermo\"]",
        ),
        ("GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 1 km", "[]"),
        ("GEOSEARCH none FROMLONLAT 15 37 BYRADIUS 1 km", "[]"),
        ("GEOSEARCH none FROMMEMBER a BYRADIUS 1 km", "[]"),
        (
            "GEOSEARCH Sicily BYPOLYGON 4 12 38 14 38 14 39 12 39",
            "[\"Palermo\" \"edge1\"]",
        ),
        (
            "GEOSEARCH Sicily BYPOLYGON 3 13 37 16 37 16 39 ASC WITHDIST",
            "[[\"Catania\" \"20971.9379\"]]",
        ),
        (
            "GEORADIUS Sicily 15 37 200 km WITHDIST WITHCOORD",
            "[[\"Palermo\" \"190.4424\" [\"13.36138933897018433\" \"38.11555639549629859\"]] \
              [\"Catania\" \"56.4413\" [\"15.08726745843887329\" \"37.50266842333162032\"]]]",
        ),
        (
            "GEORADIUS_RO Sicily 15 37 200 km DESC",
            "[\"Palermo\" \"Catania\"]",
        ),
        (
            "GEORADIUSBYMEMBER Sicily Catania 200 km ASC",
            "[\"Catania\" \"Palermo\"]",
        ),
        ("GEORADIUSBYMEMBER_RO Sicily Catania 1 m", "[\"Catania\"]"),
        ("GEORADIUSBYMEMBER none Catania 1 m", "[]"),
    ]);
    let mut client = server.connect_resp3();
    client.check(&[(
        "GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 100 km WITHCOORD WITHDIST WITHHASH",
        "[[\"Catania\" \"56.4413\" :3479447370796909 [,15.087267458438873 ,37.50266842333162]]]",
    )]);
}

#[test]
fn searches_that_make_no_sense() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    sicily(&mut client);
    let search = |rest: &str| format!("GEOSEARCH Sicily {rest}");
    let from = "FROMLONLAT 15 37";
    let vertices = "-ERR GEOSEARCH BYPOLYGON must have at least 3 vertices";
    let expected = [
        (
            format!("{from} BYRADIUS -1 km"),
            "-ERR radius cannot be negative",
        ),
        (format!("{from} BYRADIUS x km"), "-ERR need numeric radius"),
        (format!("{from} BYRADIUS 1 yd"), BAD_UNIT),
        (format!("{from} BYBOX x 1 km"), "-ERR need numeric width"),
        (format!("{from} BYBOX 1 x km"), "-ERR need numeric height"),
        (
            format!("{from} BYBOX 1 -1 km"),
            "-ERR height or width cannot be negative",
        ),
        (
            format!("{from} BYRADIUS 1 km COUNT 0"),
            "-ERR COUNT must be > 0",
        ),
        (
            format!("{from} BYRADIUS 1 km COUNT x"),
            "-ERR value is not an integer or out of range",
        ),
        (
            format!("{from} BYRADIUS 1 km ANY"),
            "-ERR the ANY argument requires COUNT argument",
        ),
        (format!("{from} BYRADIUS 1 km STOREDIST"), SYNTAX),
        (format!("{from} BYRADIUS 1 km STORE k"), SYNTAX),
        (format!("{from} BYRADIUS 1 km BYBOX 1 1 km"), SYNTAX),
        (format!("{from} FROMMEMBER Palermo BYRADIUS 1 km"), SYNTAX),
        (format!("{from} BYRADIUS 1 km COUNT"), SYNTAX),
        (format!("{from} BYPOLYGON 3 1 1 2 2 3 1"), SYNTAX),
        ("BYPOLYGON 2 1 1 2 2".to_owned(), vertices),
        ("BYPOLYGON 4 1 1 2 2 3 1".to_owned(), vertices),
        (
            "BYPOLYGON x 1 1 2 2 3 1".to_owned(),
            "-ERR invalid number of vertices",
        ),
        (
            "BYPOLYGON 9999999999 1 1 2 2".to_owned(),
            "-ERR invalid number of vertices",
        ),
        (
            "BYPOLYGON 3 1 1 2 2 300 1".to_owned(),
            "-ERR invalid longitude,latitude pair 300.000000,1.000000",
        ),
        (
            "FROMMEMBER nobody BYRADIUS 1 km".to_owned(),
            "-ERR member nobody does not exist",
        ),
        (
            "BYRADIUS 1 km ASC WITHDIST".to_owned(),
            "-ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for GEOSEARCH",
        ),
        (
            format!("{from} ASC WITHDIST"),
            "-ERR exactly one of BYRADIUS, BYBOX and BYPOLYGON can be specified for GEOSEARCH",
        ),
    ];
    for (rest, error) in expected {
        assert_eq!(client.line(&search(&rest)), error, "{rest}");
    }
    client.check(&[
        ("GEORADIUS_RO Sicily 15 37 1 km STORE k", SYNTAX),
        ("GEORADIUSBYMEMBER_RO Sicily Palermo 1 km STOREDIST k", SYNTAX),
        (
            "GEORADIUS Sicily 15 37 1 km WITHDIST STORE k",
            "-ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
        ),
        (
            "GEOSEARCHSTORE k Sicily FROMLONLAT 15 37 BYRADIUS 1 km WITHHASH",
            "-ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
        ),
        ("SET string x", "+OK"),
        ("GEOSEARCH string FROMLONLAT x y BYRADIUS 1 km", WRONG_TYPE),
        ("GEORADIUS string x 1 1 km", WRONG_TYPE),
        ("GEOSEARCHSTORE k string FROMLONLAT 1 1 BYRADIUS 1 km", WRONG_TYPE),
    ]);
}

#[test]
fn storing() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    sicily(&mut client);
    client.check(&[
        (
            "GEOSEARCHSTORE k Sicily FROMLONLAT 15 37 BYRADIUS 200 km",
            ":2",
        ),
        (
            "ZRANGE k 0 -1 WITHSCORES",
            "[\"Palermo\" \"3479099956230698\" \"Catania\" \"3479447370796909\"]",
        ),
        (
            "GEOSEARCHSTORE k Sicily FROMLONLAT 15 37 BYBOX 400 400 km STOREDIST COUNT 2",
            ":2",
        ),
        (
            "ZRANGE k 0 -1 WITHSCORES",
            "[\"Catania\" \"56.4412578701582\" \"Palermo\" \"190.44242984775784\"]",
        ),
        ("OBJECT ENCODING k", "\"listpack\""),
        ("EXPIRE k 1000", ":1"),
        (
            "GEORADIUS Sicily 15 37 200 km STORE other STOREDIST k",
            ":2",
        ),
        ("EXISTS other", ":0"),
        ("TTL k", ":-1"),
        ("GEORADIUSBYMEMBER Sicily Palermo 1 km STORE k", ":1"),
        ("ZRANGE k 0 -1", "[\"Palermo\"]"),
        ("SET k x", "+OK"),
        ("GEORADIUSBYMEMBER Sicily Palermo 100 km STORE k", ":2"),
        ("GEORADIUS Sicily 0 0 1 km STORE k", ":0"),
        ("EXISTS k", ":0"),
        ("SET k x", "+OK"),
        ("GEOSEARCHSTORE k none FROMMEMBER a BYRADIUS 1 km", ":0"),
        ("EXISTS k", ":0"),
        ("GEORADIUSBYMEMBER none a 1 km STORE k", ":0"),
        (
            "GEOSEARCHSTORE Sicily Sicily FROMMEMBER Palermo BYRADIUS 100 km",
            ":2",
        ),
        ("ZRANGE Sicily 0 -1", "[\"Palermo\" \"edge1\"]"),
        (
            "COMMAND GETKEYS GEORADIUS a 1 2 3 km STORE b STOREDIST c",
            "[\"a\" \"c\"]",
        ),
    ]);
}

/// The plain answer: members of a grid inside of a box of coordinates.
#[test]
fn many_members_are_searched_in_parts() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    for row in 0..60 {
        let places: Vec<String> = (0..60)
            .map(|at| {
                format!(
                    "{:.2} {:.2} {at}:{row}",
                    f64::from(at) / 100.0,
                    f64::from(row) / 100.0
                )
            })
            .collect();
        client.line(&format!("GEOADD grid {}", places.join(" ")));
    }
    client.check(&[
        ("OBJECT ENCODING grid", "\"skiplist\""),
        (
            "GEOSEARCHSTORE k grid BYPOLYGON 4 0.095 0.195 0.305 0.195 0.305 0.405 0.095 0.405",
            ":441",
        ),
        ("ZSCORE k 9:20", "nil"),
        ("ZSCORE k 10:19", "nil"),
        (
            "GEOSEARCHSTORE k grid FROMMEMBER 30:30 BYBOX 23 23 km",
            ":441",
        ),
        (
            "GEOSEARCHSTORE k grid FROMMEMBER 30:30 BYRADIUS 1.2 km",
            ":5",
        ),
        (
            "GEOSEARCH grid FROMMEMBER 30:30 BYRADIUS 1.2 km COUNT 1",
            "[\"30:30\"]",
        ),
        (
            "GEOSEARCHSTORE k grid FROMMEMBER 0:0 BYRADIUS 20000 km",
            ":3600",
        ),
        (
            "GEOSEARCHSTORE k grid FROMMEMBER 0:0 BYRADIUS 20000 km COUNT 100 ANY",
            ":100",
        ),
    ]);
}

#[test]
fn around_the_end_of_the_map() {
    let server = TestServer::start_twice();
    let mut client = server.connect();
    client.check(&[
        (
            "GEOADD k 179.95 10 east -179.95 10 west 0 85 north 180 85 far",
            ":4",
        ),
        (
            "GEOSEARCH k FROMLONLAT 179.99 10 BYRADIUS 10 km ASC",
            "[\"east\" \"west\"]",
        ),
        (
            "GEOSEARCH k FROMLONLAT 179.99 10 BYBOX 20 1 km ASC",
            "[\"east\" \"west\"]",
        ),
        // As in Redis: squares begin again behind the last meridian, but not at it, and do not
        // reach over a pole.
        ("GEOSEARCH k FROMLONLAT 180 10 BYRADIUS 10 km", "[\"east\"]"),
        (
            "GEOSEARCH k FROMMEMBER north BYRADIUS 1200 km ASC",
            "[\"north\"]",
        ),
        // Redis looks nowhere when the middle of the vertices is at a pole.
        (
            "GEOSEARCH k BYPOLYGON 3 -120 84 120 84 0 85.04",
            "[\"north\"]",
        ),
    ]);
}

#[test]
fn changes_are_logged_as_scores() {
    let server = TestServer::start_twice();
    let commands = [
        "GEOADD k CH 13.361389 38.115556 a 15.087269 37.502669 b",
        "GEOADD k 13.361389 38.115556 a",
        "GEOADD k XX 15.087269 37.502669 a 1 1 c",
        "GEOSEARCH k FROMMEMBER a BYRADIUS 1 km",
        "GEORADIUS k 15 37 200 km",
        "GEOSEARCHSTORE d k FROMMEMBER a BYRADIUS 1 km",
        "GEORADIUS k 15 37 200 km STOREDIST d",
        "GEORADIUS k 0 0 1 km STORE none",
        "GEORADIUS k 0 0 1 km STORE d",
    ];
    let logged = [
        "ZADD k CH 3479099956230698 a 3479447370796909 b",
        "ZADD k XX 3479447370796909 a 3377822707026402 c",
        "GEOSEARCHSTORE d k FROMMEMBER a BYRADIUS 1 km",
        "GEORADIUS k 15 37 200 km STOREDIST d",
        "GEORADIUS k 0 0 1 km STORE d",
    ];
    assert_eq!(server.logs_of(&commands), logged);
    sicily(&mut server.connect());
    server.assert_replays();
}
