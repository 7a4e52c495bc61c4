"""The playground: a static page that sends clips to this server and shows the predictions."""
