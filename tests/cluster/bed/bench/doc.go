// Package bench measures the controller against what people do without it:
// kubectl create of the same manifests and kubectl wait.
//
// All contestants of a setting talk to one control plane through one forwarder
// that counts their bytes, in rounds, each in a namespace of its own. Only what
// was measured in one run is compared.
package bench
