//! The blocking clients of PostgreSQL and Redis, unchanged, against real servers: a fiber a user.

use crate::servers;
use crate::support::{fan_out, on_fiber};

const USERS: usize = 100;

#[test]
fn postgres() {
    let server = servers::postgres(USERS);
    let address = server.address.clone();
    on_fiber(move || {
        let connect =
            move || postgres::Client::connect(&address, postgres::NoTls).expect("the server is up");
        let mut admin = connect();
        let schema = "CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL);
                      CREATE TABLE transfer (sender int, receiver int, amount bigint);
                      INSERT INTO account SELECT id, 1000 FROM generate_series(0, 9) AS id";
        admin.batch_execute(schema).expect("valid SQL");

        let open = connect.clone();
        fan_out(USERS, move |user| {
            let mut client = open();
            let row =
                client.query_one("SELECT $1::int4 * 2", &[&(user as i32)]).expect("valid SQL");
            assert_eq!(row.get::<_, i32>(0), 2 * user as i32);
            for round in 0..3 {
                let (sender, receiver) = ((user + round) % 10, (user + round + 1) % 10);
                let amount = (user + round) as i64 % 7;
                let mut transaction = client.transaction().expect("begins");
                // Always the lower account first, so that no two wait for each other in the server.
                let (low, high) = (sender.min(receiver) as i32, sender.max(receiver) as i32);
                for id in [low, high] {
                    let change = if id == sender as i32 { -amount } else { amount };
                    let update = "UPDATE account SET balance = balance + $1 WHERE id = $2";
                    transaction.execute(update, &[&change, &id]).expect("valid SQL");
                }
                let insert = "INSERT INTO transfer VALUES ($1, $2, $3)";
                let values: [&(dyn postgres::types::ToSql + Sync); 3] =
                    [&(sender as i32), &(receiver as i32), &amount];
                transaction.execute(insert, &values).expect("valid SQL");
                transaction.commit().expect("commits");
            }
        });

        let check =
            "SELECT (SELECT sum(balance)::bigint FROM account), (SELECT count(*) FROM transfer)";
        let row = admin.query_one(check, &[]).expect("valid SQL");
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (10_000, 3 * USERS as i64));
        let error = admin.query("SELECT no_such_column", &[]).expect_err("invalid SQL");
        assert_eq!(error.code(), Some(&postgres::error::SqlState::UNDEFINED_COLUMN));
    });
    drop(server);
}

#[test]
fn redis() {
    let server = servers::redis();
    let client = redis::Client::open(&*server.address).expect("a valid URL");
    on_fiber(move || {
        use redis::Commands;

        let users = client.clone();
        fan_out(USERS, move |user| {
            let mut connection = users.get_connection().expect("the server is up");
            let key = format!("user:{user}");
            for round in 0..20 {
                let _: () = connection.set(&key, round).expect("a key");
                assert_eq!(connection.get::<_, usize>(&key).expect("just set"), round);
                let _: usize = connection.incr("visits", 1).expect("a number");
            }
            let (one, two): (usize, usize) = redis::pipe()
                .cmd("INCR")
                .arg(&key)
                .cmd("INCR")
                .arg(&key)
                .query(&mut connection)
                .expect("a number");
            assert_eq!((one, two), (20, 21));
        });
        let mut connection = client.get_connection().expect("the server is up");
        assert_eq!(connection.get::<_, usize>("visits").expect("counted"), 20 * USERS);

        // One waits for what another pushes.
        let waiter = timestop::spawn(move || {
            let mut connection = client.get_connection().expect("the server is up");
            connection.blpop::<_, (String, String)>("queue", 0.0).expect("pushed").1
        });
        let _: usize = connection.rpush("queue", "treasure").expect("a list");
        assert_eq!(waiter.join().expect("no panic"), "treasure");
    });
    drop(server);
}
