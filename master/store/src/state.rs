//! State of services that belongs to the cluster, as JSON (`compat/database.md`, "State").

use serde_json::Value as Json;

use crate::{Result, Tx, names::found_next_time, params};

/// Names one value: whose it is, of which class, and which.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct StateKey {
    pub object: String,
    pub class: String,
    pub key: String,
}

/// The value, if it was ever set.
pub async fn get(tx: &Tx, key: &StateKey) -> Result<Option<Json>> {
    let query = "SELECT s.value_json FROM object_state s JOIN objects o ON o.id = s.objectid \
                 WHERE o.name = ? AND o.class_name = ? AND s.name = ?";
    let row = tx.query_opt(query, params![&key.object, &key.class, &key.key]).await?;
    row.map(|row| row.json(0)).transpose()
}

/// Sets the value.
pub async fn set(tx: &Tx, key: &StateKey, value: &Json) -> Result<()> {
    let query = "SELECT id FROM objects WHERE name = ? AND class_name = ?";
    let object = match tx.query_opt(query, params![&key.object, &key.class]).await? {
        Some(row) => row.int(0)?,
        None => {
            let insert = "INSERT INTO objects (name, class_name) VALUES (?, ?)";
            found_next_time(tx.insert(insert, params![&key.object, &key.class]).await)?
        }
    };
    let upsert = "INSERT INTO object_state (objectid, name, value_json) VALUES (?, ?, ?) \
                  ON CONFLICT (objectid, name) DO UPDATE SET value_json = excluded.value_json";
    tx.execute(upsert, params![object, &key.key, value.to_string()]).await?;
    Ok(())
}
