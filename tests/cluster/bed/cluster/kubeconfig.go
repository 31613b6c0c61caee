package cluster

import (
	"fmt"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	api "k8s.io/client-go/tools/clientcmd/api"
)

// contextName is how the cluster is called in its kubeconfig.
const contextName = "quayctl-bed"

// writeKubeconfig lets one of the users in, with a default namespace unless it is
// empty.
func (c *credentials) writeKubeconfig(path, server, name, namespace string) error {
	config := api.NewConfig()
	config.Clusters[contextName] = &api.Cluster{Server: server, CertificateAuthorityData: c.authority}
	config.AuthInfos[name] = &api.AuthInfo{Token: c.users[name].token}
	config.Contexts[contextName] = &api.Context{Cluster: contextName, AuthInfo: name, Namespace: namespace}
	config.CurrentContext = contextName
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// client talks to the API server as one of the users, as fast as it can: how
// much is in flight is limited where it is sent.
func (c *credentials) client(server, name string) (kubernetes.Interface, error) {
	client, err := kubernetes.NewForConfig(&rest.Config{
		Host:            server,
		BearerToken:     c.users[name].token,
		TLSClientConfig: rest.TLSClientConfig{CAData: c.authority},
		UserAgent:       "bed/" + name,
		QPS:             -1,
		ContentConfig: rest.ContentConfig{
			ContentType:        "application/vnd.kubernetes.protobuf",
			AcceptContentTypes: "application/vnd.kubernetes.protobuf,application/json",
		},
	})
	if err != nil {
		return nil, fmt.Errorf("making a client for %s: %w", name, err)
	}
	return client, nil
}
