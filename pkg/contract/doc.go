// Package contract is what the webhook and the syncer agree on: annotation
// keys, environment names, container and volume names, paths, ports, exit
// codes and defaults. It imports the standard library only, so that either
// side can link it without inheriting the other's dependencies.
package contract
