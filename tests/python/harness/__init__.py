"""What the process tests share: servers, ensembles, network namespaces and a raw protocol client.

Everything here works on Zabra and on Apache ZooKeeper alike, so that a test can first be proved against the one and
then hold for the other. Module by module:

* `wait`       deadlines instead of sleeping for luck
* `process`    one child process, ended by its id whatever happens
* `ports`      free ports
* `server`     one server of either kind; `ensemble` several of them
* `fourletter` srvr, mntr and friends
* `netns`      a network namespace per server, and partitions between them
* `jute`       the client protocol's bytes; `rawclient` a connection that speaks it
* `zk39`       the jars of Apache ZooKeeper 3.9
* `target`     which server the tests run against
"""
