//! temp probe
#![allow(clippy::unwrap_used, clippy::panic)]
use std::time::{Duration, Instant};
use sandbox::*;
use tokio::io::AsyncReadExt;
fn spec(s:&Sandbox, argv:&[&str], mounts:Vec<Mount>, cwd:&str, env:Vec<(String,String)>, net:Network)->Spec{ let _=s; Spec{argv:argv.iter().map(|s|s.to_string()).collect(),cwd:cwd.into(),env,mounts,limits:Limits{wall:Some(Duration::from_secs(300)),memory:2<<30,processes:512,file_size:1<<30,disk:Some(4<<30),open_files:4096},network:net}}
#[tokio::main]
async fn main(){
  let a:Vec<String>=std::env::args().collect();
  let lv=a[1].clone();
  let what=a[2].clone();
  let helper=std::env::var("HELPER").unwrap();
  let t=Instant::now();
  let forbid=if lv=="any"{vec![]}else{Level::ALL.into_iter().filter(|l|l.slug()!=lv).collect()};
  let s=Sandbox::detect(helper.into(),Options{forbid,without_groups:std::env::var("NOG").is_ok(),..Options::default()}).await;
  println!("level {} in {:?} findings {:#?}",s.level().slug(),t.elapsed(),s.findings());
  let path=vec![("PATH".to_string(),"/usr/local/bin:/usr/bin:/bin".to_string())];
  if what=="perf"{
    let mut first=vec![]; let mut whole=vec![];
    for net in [Network::Host,Network::Outbound]{
    first.clear();whole.clear();
    for _ in 0..60{ let t=Instant::now(); let mut r=s.spawn(spec(&s,&["sh","-c","echo x"],vec![],"/",path.clone(),net)).unwrap(); let mut b=[0;2]; r.stdout.as_mut().unwrap().read_exact(&mut b).await.unwrap(); first.push(t.elapsed()); r.wait().await; whole.push(t.elapsed());}
    first.sort();whole.sort(); println!("{net:?} first median {:?} max {:?}; whole median {:?} max {:?} fds {}",first[10],first[19],whole[10],whole[19],std::fs::read_dir("/proc/self/fd").unwrap().count());}
  } else {
    let work=std::path::PathBuf::from(a[3].clone());
    let inside=s.place(&work,std::path::Path::new("/work"));
    let mut env=path; env.push(("HOME".into(),inside.to_string_lossy().into_owned()));
    for e in &a[5..]{ let (k,v)=e.split_once('=').unwrap(); env.push((k.into(),v.into())); }
    let net=if what=="host"{Network::Host}else{Network::Outbound};
    let t=Instant::now();
    let mut r=s.spawn(spec(&s,&["sh","-c",&a[4]],vec![Mount{source:work,target:"/work".into(),writable:true}],&inside.to_string_lossy(),env,net)).unwrap();
    let (o,e)=(r.stdout.take().unwrap(),r.stderr.take().unwrap());
    let j=tokio::spawn(async move{let mut o=o;tokio::io::copy(&mut o,&mut tokio::io::stdout()).await});
    let k=tokio::spawn(async move{let mut e=e;tokio::io::copy(&mut e,&mut tokio::io::stderr()).await});
    let x=r.wait().await; let _=j.await;let _=k.await; println!("=> {x:?} in {:?}",t.elapsed());
  }
}
