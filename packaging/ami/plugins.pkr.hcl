# In a file of its own: Packer before 1.7, such as Debian 12's, has the plugin built in and does not know this block.
packer {
  required_plugins {
    amazon = {
      version = ">= 1.2.8"
      source  = "github.com/hashicorp/amazon"
    }
  }
}
