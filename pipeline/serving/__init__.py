"""The daemon: a site's file in, live cameras analysed day and night."""
