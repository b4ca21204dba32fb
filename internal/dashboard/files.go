package dashboard

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed page
var page embed.FS

// files are those of the page. uPlot (MIT) draws its axes; nothing is loaded from anywhere else.
func files() http.Handler {
	root, err := fs.Sub(page, "page")
	if err != nil {
		panic(err) // it is embedded
	}
	return http.FileServerFS(root)
}
