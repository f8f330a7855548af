//! Serves one master file: `serve ADDRESS ORIGIN FILE [signed]`, for measuring beside other servers.

use std::{error::Error, sync::Arc};

use dns::{
    Name,
    answer::Answers,
    key::ZoneKey,
    master,
    server::{Server, Settings},
    zone::Zone,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [address, origin, file, rest @ ..] = words.as_slice() else {
        return Err("serve ADDRESS ORIGIN FILE [signed]".into());
    };
    let origin = Name::from_ascii(origin)?;
    let key = match rest {
        [] => None,
        _ => Some(Arc::new(ZoneKey::open(&ZoneKey::generate()?)?)),
    };
    let records = master::read(&std::fs::read_to_string(file)?, &origin)?;
    let zone = Zone::new(origin, records, key)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    let answers = Arc::new(Answers::default());
    answers.publish(Arc::new(zone));
    let settings = Settings { listen: vec![address.parse()?], rate: 0, burst: 0, transfer: Vec::new() };
    let server = Server::start(&settings, answers).await?;
    println!("listening on {:?}", server.addresses());
    tokio::signal::ctrl_c().await?;
    Ok(())
}
