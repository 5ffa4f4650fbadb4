//! Lines as compilers write them.

use std::sync::Arc;

/// Bytes of the log.
pub const BYTES: usize = 100_000_000;
/// What a worker sends in one update.
const UPDATE: usize = 64 << 10;

/// The output of a long build, in updates of whole lines.
pub fn output() -> Arc<[String]> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut updates = Vec::new();
    let (mut update, mut bytes, mut number) = (String::new(), 0, 0_u64);
    while bytes < BYTES {
        number += 1;
        let (module, file) = (random.u32(..40), random.u32(..900));
        let mut line = format!(
            "[{number:6}/91234] g++ -DNDEBUG -O2 -Iinclude/module{module} -std=c++20 -Wall -o obj/module{module}/file{file}.o \
             -c src/module{module}/file{file}.cpp\n"
        );
        if number.is_multiple_of(7) {
            line += &format!(
                "src/module{module}/file{file}.cpp:{}:{}: warning: unused variable 'value{}' [-Wunused-variable]\n",
                random.u32(1..3000),
                random.u32(1..100),
                random.u32(..5000)
            );
        }
        bytes += line.len();
        update += &line;
        if update.len() >= UPDATE {
            updates.push(std::mem::take(&mut update));
        }
    }
    updates.push(update);
    updates.into()
}
