package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// maxAnswerBytes is more than the counts of all faces.
const maxAnswerBytes = 1 << 30

// Client calls the API at a URL such as http://198.18.7.3:5000.
type Client struct{ base *url.URL }

// NewClient checks the URL.
func NewClient(base string) (*Client, error) {
	at, err := url.Parse(base)
	if err != nil || at.Scheme != "http" || at.Host == "" {
		return nil, fmt.Errorf("control is %q; use a URL such as http://198.18.7.3:5000", base)
	}
	return &Client{at}, nil
}

// Host is the address and port.
func (c *Client) Host() string { return c.base.Host }

// Call sends a request, with a body of JSON unless it is nil, and decodes the
// answer. What the API says is wrong comes back as the error.
func (c *Client) Call(method, path string, body, answer any) error {
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequest(method, strings.TrimSuffix(c.base.String(), "/")+path, content)
	if err != nil {
		return err
	}
	client := http.Client{Timeout: requestTimeout}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	read, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		var failed failure
		if json.Unmarshal(read, &failed) == nil && failed.Error != "" {
			return errors.New(failed.Error)
		}
		return fmt.Errorf("%s %s answered %s", method, path, response.Status)
	}
	return json.Unmarshal(read, answer)
}
